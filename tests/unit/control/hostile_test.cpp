// What strangers and URs that misbehave can do to drd by signalling: nothing to anybody else.
#include <grpcpp/security/tls_credentials_options.h>

#include "control/daemon/listener.h"
#include "dr/v1/signalling.grpc.pb.h"
#include "pki/peer_verifier.h"
#include "tests/unit/control/signalling_fixture.h"
#include "ur/signalling/stream.h"

namespace dr::control::test {
namespace {

// drd with at most so many descriptors.
std::vector<std::string> limited(int soft, int hard) {
    return {"/bin/sh", "-c",
            "ulimit -S -n " + std::to_string(soft) + " && ulimit -H -n " + std::to_string(hard) +
                " && exec \"$0\" \"$@\""};
}

std::vector<FileDescriptor> connect_many(int port, int count) {
    std::vector<FileDescriptor> out;
    const sockaddr_in address = loopback(port);
    for (int i = 0; i < count; ++i) {
        FileDescriptor& fd = out.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        REQUIRE(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) ==
                0);
    }
    return out;
}

// The peer has closed it.
bool closed(const FileDescriptor& fd) {
    char byte = 0;
    return ::recv(fd.get(), &byte, 1, MSG_DONTWAIT) == 0;
}

v1::Hello hello(const std::string& version = "test") {
    v1::Hello out;
    out.set_version(version);
    return out;
}

// A stream that does nothing by itself: what is not read stays with drd, as far as it goes.
class RawStream {
  public:
    RawStream(const v1::Credentials& credentials, const std::string& address) {
        namespace g = grpc::experimental;
        g::TlsChannelCredentialsOptions options;
        options.set_certificate_provider(
            std::make_shared<g::StaticDataCertificateProvider>(std::vector<g::IdentityKeyCertPair>{
                {credentials.private_key(), credentials.certificate()}}));
        options.watch_identity_key_cert_pairs();
        options.set_verify_server_certs(false);
        options.set_check_call_host(false);
        options.set_certificate_verifier(
            pki::peer_verifier(credentials.ca(), pki::Purpose::Server, {}));
        grpc::ChannelArguments arguments;
        arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
        arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 5);
        arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
        stub_ = v1::Signalling::NewStub(
            grpc::CreateCustomChannel(address, g::TlsCredentials(options), arguments));
        stream_ = stub_->Attach(&context_);
    }
    bool say(const v1::UrMessage& message) { return stream_->Write(message); }
    bool say_hello(const v1::Hello& hello) {
        v1::UrMessage message;
        *message.mutable_hello() = hello;
        return say(message);
    }
    grpc::Status end() {
        for (v1::DrMessage ignored; stream_->Read(&ignored);) {
        }
        return stream_->Finish();
    }

  private:
    grpc::ClientContext context_;
    std::unique_ptr<v1::Signalling::Stub> stub_;
    std::unique_ptr<grpc::ClientReaderWriter<v1::UrMessage, v1::DrMessage>> stream_;
};

}  // namespace

TEST_CASE("strangers that connect without end take neither the operator's socket nor signalling") {
    Fixture f({}, limited(120, 120));
    const auto credentials = f.enroll();
    {
        const auto strangers = connect_many(f.port, 300);
        REQUIRE(eventually(
            [&] { return std::count_if(strangers.begin(), strangers.end(), closed) > 150; }));
        // A channel of its own: a connection that there was before proves nothing.
        f.connect();
        CHECK(f.attachments().empty());
    }
    Ur ur(credentials);
    CHECK(ur.attachment().subscriber() == "site-1");
}

TEST_CASE("drd takes as many connections as its hard limit of descriptors allows") {
    Fixture f({}, limited(64, 1024));
    const auto strangers = connect_many(f.port, 300);
    Ur ur(f.enroll());
    CHECK(ur.attachment().subscriber() == "site-1");
    CHECK(std::none_of(strangers.begin(), strangers.end(), closed));
}

TEST_CASE("strangers that drd has descriptors for do not fill the machine's memory") {
    constexpr std::uint64_t kGiB = 1 << 30;
    // What systemd gives to a service of which nothing is said.
    CHECK(descriptors_for(1024, 524'288, 4 * kGiB) == 8192);
    CHECK(descriptors_for(1024, 524'288, 64 * kGiB) == 131'072);
    CHECK(descriptors_for(1024, 4096, 64 * kGiB) == 4096);
    // Set on purpose.
    CHECK(descriptors_for(200'000, 200'000, 4 * kGiB) == 200'000);
    CHECK(descriptors_for(1024, 4096, 0) == 1024);
}

TEST_CASE("a UR that does not read what it is sent is cut off by a revocation all the same") {
    Fixture f;
    RawStream deaf(f.enroll(), f.address());
    REQUIRE(deaf.say_hello(hello()));
    REQUIRE(eventually([&] { return f.attachments().size() == 1; }));
    CHECK(f.revoke().streams() == 1);
    CHECK(eventually([&] { return f.attachments().empty(); }, 5s));
}

TEST_CASE("what a UR calls itself cannot spoil the list of attachments") {
    Fixture f;
    RawStream ur(f.enroll(), f.address());
    // Cut after 64 bytes, it would end in the middle of a character.
    REQUIRE(ur.say_hello(hello("\x1b[2J" + std::string(59, 'x') + "\u00e9")));
    REQUIRE(eventually([&] { return f.attachments().size() == 1; }));
    CHECK(f.attachments()[0].version() == "\\x1b[2J" + std::string(59, 'x') + "…");
}

TEST_CASE(
    "a UR that says without end what its lines are disturbs neither its successor nor others") {
    Fixture f;
    const auto credentials = f.enroll();
    RawStream talker(credentials, f.address());
    REQUIRE(talker.say_hello(hello()));
    // It is ended soon after it begins to talk.
    REQUIRE(eventually([&] { return f.attachments().size() == 1; }));
    std::atomic<bool> going{true};
    std::thread talking([&] {
        v1::UrMessage message;
        for (unsigned i = 0; going; ++i) {
            message.mutable_lines()->clear_lines();
            *message.mutable_lines()->add_lines() = line(i % 2 == 0 ? "a" : "b");
            if (!talker.say(message)) break;
        }
    });
    Ur successor(credentials);
    successor.attachment();
    talking.join();
    going = false;
    CHECK_FALSE(talker.end().ok());
    CHECK(successor.client().status().attempts == 1);
    CHECK(f.revoke().streams() == 1);
    CHECK(eventually([&] { return f.attachments().empty(); }, 1s));
}

TEST_CASE("who shows no certificate, or says no hello, is let go after 10 s") {
    Fixture f;
    const auto credentials = f.enroll();
    const auto strangers = connect_many(f.port, 3);
    RawStream silent(credentials, f.address());
    const auto status = silent.end();
    CHECK(status.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
    CHECK_THAT(status.error_message(), Catch::Contains("no hello in 10 s"));
    CHECK(eventually([&] { return std::all_of(strangers.begin(), strangers.end(), closed); }));
}

TEST_CASE(
    "a revoked certificate, and one of a subscriber that is gone, is refused before its hello") {
    Fixture f;
    const auto credentials = f.enroll();
    f.revoke();
    RawStream silent(credentials, f.address());
    auto status = silent.end();
    CHECK(status.error_code() == grpc::StatusCode::PERMISSION_DENIED);
    CHECK_THAT(status.error_message(), Catch::Contains("revoked"));
    grpc::ClientContext context;
    v1::DeleteRequest gone;
    gone.set_name("site-1");
    google::protobuf::Empty none;
    REQUIRE(f.subscribers->Delete(&context, gone, &none).ok());
    RawStream nobody(credentials, f.address());
    status = nobody.end();
    CHECK(status.error_code() == grpc::StatusCode::NOT_FOUND);
    CHECK_THAT(status.error_message(), Catch::Contains("\"site-1\" is not provisioned here"));
}

TEST_CASE("a message of a UR beyond all bounds ends what that UR has, and nothing else") {
    Fixture f;
    const auto credentials = f.enroll();
    RawStream huge(credentials, f.address());
    CHECK(huge.say_hello(hello(std::string(1 << 20, 'x'))));
    // By its stream, or by its connection, whichever limit is met first.
    CHECK_FALSE(huge.end().ok());
    Ur ur(credentials);
    CHECK(ur.attachment().subscriber() == "site-1");
}

}  // namespace dr::control::test
