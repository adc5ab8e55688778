// One stream, by gRPC's callbacks.
#include "ur/signalling/stream.h"

#include <grpcpp/security/tls_credentials_options.h>

#include <algorithm>

#include "pki/peer_verifier.h"

namespace dr::ur {
namespace {

using grpc::experimental::IdentityKeyCertPair;
using grpc::experimental::StaticDataCertificateProvider;
using grpc::experimental::TlsChannelCredentialsOptions;

constexpr int kConnectMs = 5000;
// All that drd's limits allow of an attachment fits many times.
constexpr int kMaxMessage = 1 << 20;
// Messages that wait to be taken; a DR that sends more waits itself (HTTP/2 flow control).
constexpr std::size_t kMostWaiting = 4;

std::shared_ptr<grpc::ChannelCredentials> tls(const v1::Credentials& credentials,
                                              const std::string& name, pki::Refused refused) {
    TlsChannelCredentialsOptions options;
    options.set_certificate_provider(std::make_shared<StaticDataCertificateProvider>(
        std::vector<IdentityKeyCertPair>{{credentials.private_key(), credentials.certificate()}}));
    options.watch_identity_key_cert_pairs();
    // gRPC's own check looks at dates; the verifier is the only one, and does not.
    options.set_verify_server_certs(false);
    options.set_check_call_host(false);
    options.set_certificate_verifier(
        pki::peer_verifier(credentials.ca(), pki::Purpose::Server, {name}, {}, std::move(refused)));
    return grpc::experimental::TlsCredentials(options);
}

grpc::ChannelArguments arguments(const SignallingOptions& options, const std::string& name) {
    grpc::ChannelArguments out;
    // Each connection is its own, so that each resolves the name again.
    out.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    out.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    out.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
    out.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
    out.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kConnectMs);
    out.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, static_cast<int>(options.ping_interval.count()));
    out.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, static_cast<int>(options.ping_timeout.count()));
    out.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
    out.SetSslTargetNameOverride(name);
    out.SetMaxReceiveMessageSize(kMaxMessage);
    return out;
}

}  // namespace

SignallingStream::SignallingStream(const v1::Credentials& credentials,
                                   const SignallingOptions& options, const DrAddress& dr,
                                   const v1::Hello& hello, std::function<void()> wake)
    : wake_(std::move(wake)),
      relay_(dr.device.empty() ? nullptr : std::make_unique<LineRelay>(dr.device, dr.address)),
      channel_(grpc::CreateCustomChannel(relay_ ? relay_->target() : dr.address,
                                         tls(credentials, dr.name,
                                             [verdict = verdict_](const auto&, const auto& why) {
                                                 const std::lock_guard lock(verdict->mutex);
                                                 verdict->why = why;
                                             }),
                                         arguments(options, dr.name))),
      stub_(v1::Signalling::NewStub(channel_)) {
    stub_->async()->Attach(&context_, this);
    // Keeps the stream until the end is wanted, also between a write and the next.
    AddHold();
    StartRead(&incoming_);
    StartCall();
    v1::UrMessage first;
    *first.mutable_hello() = hello;
    send(first);
}

std::string SignallingStream::fault() const {
    {
        const std::lock_guard lock(verdict_->mutex);
        if (!verdict_->why.empty()) return verdict_->why;
    }
    return relay_ ? relay_->fault() : std::string();
}

SignallingStream::~SignallingStream() {
    cancel();
    std::unique_lock lock(mutex_);
    // Only a read that fails brings the end.
    ending_ = true;
    read_on();
    over_.wait(lock, [this] { return result_.has_value(); });
}

std::optional<v1::DrMessage> SignallingStream::take() {
    const std::lock_guard lock(mutex_);
    if (received_.empty()) return std::nullopt;
    v1::DrMessage message = std::move(received_.front());
    received_.pop_front();
    read_on();
    return message;
}

// With the lock held.
void SignallingStream::read_on() {
    if (!paused_ || (!ending_ && received_.size() >= kMostWaiting)) return;
    paused_ = false;
    StartRead(&incoming_);
}

std::optional<grpc::Status> SignallingStream::result() {
    const std::lock_guard lock(mutex_);
    return received_.empty() ? result_ : std::nullopt;
}

void SignallingStream::send(const v1::UrMessage& message) {
    const std::lock_guard lock(mutex_);
    if (broken_) return;
    // Each kind tells all there is to tell: a DR that does not read is told the latest, once.
    const auto same = std::find_if(
        to_send_.begin() + (writing_ ? 1 : 0), to_send_.end(),
        [&](const v1::UrMessage& waiting) { return waiting.kind_case() == message.kind_case(); });
    if (same != to_send_.end())
        *same = message;
    else
        to_send_.push_back(message);
    write_next();
}

// With the lock held.
void SignallingStream::write_next() {
    if (writing_ || broken_ || to_send_.empty()) return;
    writing_ = true;
    StartWrite(&to_send_.front());
}

void SignallingStream::OnWriteDone(bool ok) {
    const std::lock_guard lock(mutex_);
    writing_ = false;
    to_send_.pop_front();
    // A stream that cannot be written to is one that cannot be read from: the read ends it.
    if (ok) write_next();
}

void SignallingStream::OnReadDone(bool ok) {
    if (!ok) {
        {
            const std::lock_guard lock(mutex_);
            broken_ = true;
        }
        RemoveHold();
        return;
    }
    {
        const std::lock_guard lock(mutex_);
        if (!ending_) received_.push_back(std::move(incoming_));
        incoming_.Clear();
        paused_ = true;
        read_on();
    }
    wake_();
}

void SignallingStream::OnDone(const grpc::Status& status) {
    // All of it under the lock, since the destructor goes on as soon as there is a result.
    const std::lock_guard lock(mutex_);
    result_ = status;
    wake_();
    over_.notify_all();
}

}  // namespace dr::ur
