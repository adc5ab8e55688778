// A UR's stream as the hub sees it: the peer, what it has said, and what it is to be told.
// session.h serves one by gRPC.
//
// All functions may be called from any thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "control/signalling/gate.h"
#include "dr/v1/api.pb.h"
#include "dr/v1/signalling.pb.h"
#include "pki/x509.h"

namespace dr::control {

// The peer's identity, proven by the TLS handshake.
struct PeerIdentity {
    std::string subscriber;  // the certificate's common name
    std::optional<pki::Certificate> certificate;
    std::vector<pki::Certificate> chain;  // what came with it
    Gate::Key key{};                      // names the certificate for the gate
    std::string address;
};

class UrStream {
  public:
    UrStream() = default;
    UrStream(const UrStream&) = delete;
    UrStream& operator=(const UrStream&) = delete;
    virtual ~UrStream() = default;

    [[nodiscard]] virtual const PeerIdentity& peer() const = 0;
    [[nodiscard]] virtual std::vector<v1::Line> lines() = 0;
    [[nodiscard]] virtual v1::AttachmentStatus status() = 0;
    // The stream is gone.
    [[nodiscard]] virtual bool over() const = 0;
    // Why drd has ended it: "revoked", "superseded"; otherwise a text that the stream is over.
    [[nodiscard]] virtual std::string why_over() const = 0;
    // end() was called: later messages of the UR are ignored.
    [[nodiscard]] virtual bool ended() = 0;

    // Called by the hub after it has admitted the session. Sends the attachment once the current
    // write is done. A newer attachment replaces one that is still waiting. An attachment equal to
    // the last one is not sent again.
    virtual void send(v1::Attachment attachment) = 0;
    // Says why, and ends the stream. The first reason counts.
    virtual void end(v1::Refused::Reason reason, const std::string& text) = 0;
};

}  // namespace dr::control
