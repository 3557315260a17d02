//! The programs of the guides compile: each page of `docs/` is the documentation of an item here.

#[cfg(doctest)]
#[doc = include_str!("../docs/authentication.md")]
struct Authentication;

#[cfg(doctest)]
#[doc = include_str!("../docs/behind-nginx.md")]
struct BehindNginx;

#[cfg(doctest)]
#[doc = include_str!("../docs/coming-from-socket-io.md")]
struct ComingFromSocketIo;

#[cfg(doctest)]
#[doc = include_str!("../docs/scaling-out.md")]
struct ScalingOut;

#[cfg(doctest)]
#[doc = include_str!("../docs/systemd.md")]
struct Systemd;

#[cfg(doctest)]
#[doc = include_str!("../docs/tls.md")]
struct Tls;

#[cfg(doctest)]
#[doc = include_str!("../docs/websocket-or-sse.md")]
struct WebSocketOrSse;
