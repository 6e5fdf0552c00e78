//! OKX's wire structs, named as the venue names them.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// Any JSON frame on the socket: data of a channel, or an event (the answer to a ping is the bare text `pong`).
///
/// ```json
/// {"arg":{"channel":"liquidation-orders","instType":"SWAP"},"data":[]}
/// {"id":"1512","event":"subscribe","arg":{"channel":"liquidation-orders","instType":"SWAP"},"connId":"accb8e21"}
/// {"event":"error","msg":"Wrong URL or channel:liquidation-orders,instId:… doesn't exist. …","code":"60018","connId":"439535f1"}
/// {"event":"notice","code":"64008","msg":"…","connId":"a4d3ae55"}
/// ```
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Envelope<'a> {
    pub(crate) event: Option<Cow<'a, str>>,
    pub(crate) code: Option<Cow<'a, str>>,
    pub(crate) msg: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(crate) arg: Option<Arg<'a>>,
    #[serde(borrow)]
    pub(crate) data: Option<&'a RawValue>,
}

/// What a frame belongs to.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Arg<'a> {
    #[serde(borrow)]
    pub(crate) channel: Cow<'a, str>,
    /// The instrument of `mark-price`, whose items do not repeat it in every capture (exchanges.md C.5).
    pub(crate) inst_id: Option<Cow<'a, str>>,
}

/// The liquidations of one instrument, the same over the socket and REST (exchanges.md A.3).
///
/// ```json
/// {"details":[{"bkLoss":"0","bkPx":"0.072682","ccy":"","posSide":"long","side":"sell","sz":"2","ts":"1791435480289"}],
///  "instFamily":"MUBARAK-USDT","instId":"MUBARAK-USDT-SWAP","instType":"SWAP","uly":"MUBARAK-USDT"}
/// ```
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Orders<'a> {
    #[serde(borrow)]
    pub(crate) inst_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) details: Vec<&'a RawValue>,
}

/// One liquidation of [`Orders`].
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Detail<'a> {
    /// Bankruptcy price.
    #[serde(borrow)]
    pub(crate) bk_px: Cow<'a, str>,
    /// The liquidated position: `long`, `short`, by the documents also `net`.
    #[serde(borrow)]
    pub(crate) pos_side: Cow<'a, str>,
    /// The closing order: `sell`, `buy`.
    #[serde(borrow)]
    pub(crate) side: Cow<'a, str>,
    /// Contracts, may be fractional.
    #[serde(borrow)]
    pub(crate) sz: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) ts: Cow<'a, str>,
}

/// An item of the channel `open-interest` or `mark-price`, or of the REST answers of these names (exchanges.md C.2, C.5).
///
/// ```json
/// {"instId":"BTC-USDT-SWAP","instType":"SWAP","oi":"2216113.01000000309","oiCcy":"22161.1301000000309",
///  "oiUsd":"1939251795.54769270396321","ts":"1743041250440"}
/// {"instId":"BTC-USDT-SWAP","instType":"SWAP","markPx":"77086.9","ts":"1789470161241"}
/// ```
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Interest<'a> {
    pub(crate) inst_id: Option<Cow<'a, str>>,
    /// Contracts.
    pub(crate) oi: Option<Cow<'a, str>>,
    /// Coins.
    pub(crate) oi_ccy: Option<Cow<'a, str>>,
    /// USD.
    pub(crate) oi_usd: Option<Cow<'a, str>>,
    pub(crate) mark_px: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(crate) ts: Cow<'a, str>,
}

/// A REST reply.
///
/// ```json
/// {"code":"0","msg":"","data":[]}
/// {"code":"50011","msg":"Too Many Requests","data":[]}
/// ```
#[derive(Deserialize)]
pub(crate) struct Reply<'a> {
    #[serde(borrow)]
    pub(crate) code: Cow<'a, str>,
    pub(crate) msg: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(crate) data: Vec<&'a RawValue>,
}

/// One instrument of `GET /api/v5/public/instruments`.
///
/// ```json
/// {"instType":"SWAP","instId":"BTC-USDT-SWAP","instFamily":"BTC-USDT","uly":"BTC-USDT","ctVal":"0.01","ctMult":"1",
///  "ctValCcy":"BTC","ctType":"linear","settleCcy":"USDT","baseCcy":"","quoteCcy":"","state":"live"}
/// ```
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InstrumentInfo<'a> {
    #[serde(borrow)]
    pub(crate) inst_type: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) inst_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) inst_family: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) ct_val: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) ct_mult: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) ct_val_ccy: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) ct_type: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) settle_ccy: Cow<'a, str>,
}
