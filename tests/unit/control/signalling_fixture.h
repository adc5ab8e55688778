// drd as a program with signalling on loopback, and URs that attach to it: what the tests of
// signalling share. DRD_EXE names the program.
#pragma once

#include <arpa/inet.h>
#include <grpcpp/grpcpp.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <condition_variable>

#include "base/file_descriptor.h"
#include "dr/v1/api.grpc.pb.h"
#include "pki/authority.h"
#include "tests/unit/control/daemon_process.h"
#include "tests/unit/control/support.h"
#include "ur/signalling/client.h"

namespace dr::control::test {

using namespace std::chrono_literals;

inline sockaddr_in loopback(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

inline int free_port() {
    const FileDescriptor probe(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    REQUIRE(::bind(probe.get(), reinterpret_cast<sockaddr*>(&address), size) == 0);
    REQUIRE(::getsockname(probe.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
    return ntohs(address.sin_port);
}

struct Fixture {
    TemporaryFolder folder;
    int port = free_port();
    std::unique_ptr<Process> drd;
    std::shared_ptr<grpc::Channel> channel;
    std::unique_ptr<v1::Subscribers::Stub> subscribers;

    // `more`: options of drd. `before`: a command that runs it.
    explicit Fixture(const std::vector<std::string>& more = {},
                     const std::vector<std::string>& before = {}) {
        start_drd(more, before);
        apply({kPool4, kPool6, kPolicy, site()});
    }
    static std::string site(const std::string& more = {}) {
        return R"({"subscriber":{"name":"site-1","policy":"default","profile":"MOBILE",
            "prefixes":["203.0.113.8/29","2001:db8:5000:100::/56"],"tunnels":[
            {"line":"a","encapsulation":"GRE_UDP","local":"192.0.2.1"},
            {"line":"b","encapsulation":"GRE","local":"2001:db8:ff::1","profile":"FIXED"}])" +
               more + "}}";
    }
    [[nodiscard]] std::string address() const { return "127.0.0.1:" + std::to_string(port); }
    void start_drd(const std::vector<std::string>& more,
                   const std::vector<std::string>& before = {}) {
        std::vector<std::string> words{program("DRD_EXE"),
                                       "--listen",
                                       "unix:" + folder.file("drd.sock"),
                                       "--store",
                                       folder.file("db"),
                                       "--dataplane",
                                       folder.file("dp.sock"),
                                       "--signalling",
                                       address()};
        words.insert(words.begin(), before.begin(), before.end());
        words.insert(words.end(), more.begin(), more.end());
        drd = std::make_unique<Process>(words);
        connect();
    }
    // A new connection to the operator's socket.
    void connect() {
        grpc::ChannelArguments arguments;
        arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
        arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 20);
        arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 20);
        channel = grpc::CreateCustomChannel("unix:" + folder.file("drd.sock"),
                                            grpc::InsecureChannelCredentials(), arguments);
        REQUIRE(channel->WaitForConnected(std::chrono::system_clock::now() + 20s));
        subscribers = v1::Subscribers::NewStub(channel);
    }
    void apply(const std::vector<std::string>& objects) {
        grpc::ClientContext context;
        const auto stub = v1::Resources::NewStub(channel);
        const auto stream = stub->Apply(&context);
        v1::ApplyRequest request;
        for (const auto& json : objects) *request.add_items()->mutable_resource() = resource(json);
        stream->Write(request);
        stream->WritesDone();
        for (v1::ApplyResponse response; stream->Read(&response);)
            for (const auto& result : response.results()) {
                INFO(result.ShortDebugString());
                CHECK(result.outcome() != v1::ApplyResult::REFUSED);
            }
        REQUIRE(stream->Finish().ok());
    }
    v1::Credentials enroll(bool keep_older = false) {
        grpc::ClientContext context;
        v1::EnrollRequest request;
        request.set_name("site-1");
        request.set_keep_older(keep_older);
        v1::Credentials out;
        const auto status = subscribers->Enroll(&context, request, &out);
        INFO(status.error_message());
        REQUIRE(status.ok());
        return out;
    }
    v1::RevokeResponse revoke() {
        grpc::ClientContext context;
        v1::RevokeResponse out;
        REQUIRE(subscribers->Revoke(&context, named(), &out).ok());
        return out;
    }
    std::vector<v1::AttachmentStatus> attachments() {
        grpc::ClientContext context;
        v1::ListAttachmentsResponse out;
        REQUIRE(subscribers->ListAttachments(&context, {}, &out).ok());
        return {out.attachments().begin(), out.attachments().end()};
    }
    static v1::GetRequest named() {
        v1::GetRequest request;
        request.set_name("site-1");
        return request;
    }
};

inline v1::Line line(const std::string& name) {
    v1::Line out;
    out.set_name(name);
    return out;
}

// A UR that notes what it is told.
class Ur {
  public:
    explicit Ur(const v1::Credentials& credentials, const std::string& cache = {},
                std::vector<v1::Line> lines = {line("a"), line("b")})
        : client_(credentials, options(cache),
                  {[this](const auto& attachment, ur::Source source) {
                       note(attachment, source == ur::Source::Disk);
                       return std::string();
                   },
                   {}}) {
        client_.set_lines(std::move(lines));
        client_.start();
    }
    // The attachment with this number, counted from 1, once it is there.
    v1::Attachment attachment(std::size_t number = 1) {
        std::unique_lock lock(mutex_);
        REQUIRE(changed_.wait_for(lock, 20s, [&] { return attachments_.size() >= number; }));
        return attachments_[number - 1];
    }
    std::size_t count() {
        const std::lock_guard lock(mutex_);
        return attachments_.size();
    }
    std::size_t cached() {
        const std::lock_guard lock(mutex_);
        return cached_;
    }
    bool refused(v1::Refused::Reason reason) {
        return eventually([&] { return client_.status().refused == reason; }, 10s);
    }
    // Not connected, for a reason that says this.
    bool fails(const std::string& says) {
        return eventually(
            [&] {
                const auto s = client_.status();
                return !s.connected && s.detail.find(says) != std::string::npos;
            },
            10s);
    }
    ur::SignallingClient& client() { return client_; }

  private:
    static ur::SignallingOptions options(const std::string& cache) {
        ur::SignallingOptions out;
        out.cache = cache;
        out.version = "test";
        out.incarnation = 42;
        out.first_back_off = 50ms;
        out.longest_back_off = 200ms;
        out.refused_back_off = 200ms;
        return out;
    }
    void note(const v1::Attachment& attachment, bool cached) {
        const std::lock_guard lock(mutex_);
        attachments_.push_back(attachment);
        cached_ += cached ? 1U : 0U;
        changed_.notify_all();
    }
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<v1::Attachment> attachments_;
    std::size_t cached_ = 0;
    ur::SignallingClient client_;
};

}  // namespace dr::control::test
