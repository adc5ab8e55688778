// The API of the real drd, over its socket, with the real dr-dataplane behind it (no NIC needed).
// DRD_EXE and DATAPLANE_EXE name the programs.
#include <grpcpp/grpcpp.h>

#include <fstream>

#include "dr/v1/api.grpc.pb.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "tests/unit/control/daemon_process.h"
#include "tests/unit/control/support.h"

namespace dr::control::test {
namespace {

struct Fixture {
    TemporaryFolder folder;
    std::unique_ptr<Process> drd;
    std::unique_ptr<Process> dataplane;
    std::shared_ptr<grpc::Channel> channel;

    Fixture() {
        start_drd();
        std::ofstream(folder.file("dp.json"))
            << R"({"socket":")" << folder.file("dp.sock") << R"(","memory_mib":128,"mbufs":2048,
                "capacity":{"subscribers":64,"tunnels":256,"maps":64,"next_hops":64,
                "prefixes4":256,"prefixes6":256,"groups4":256,"groups6":256},
                "ports":[{"name":"up0","kind":"null","packet_size":64,"mac":"02:00:00:00:00:01",
                "addresses":["192.0.2.1/24"]}]})";
    }

    void start_drd() {
        drd = std::make_unique<Process>(std::vector<std::string>{
            program("DRD_EXE"), "--listen", "unix:" + folder.file("drd.sock"), "--store",
            folder.file("db"), "--dataplane", folder.file("dp.sock")});
        channel = grpc::CreateChannel("unix:" + folder.file("drd.sock"),
                                      grpc::InsecureChannelCredentials());
        REQUIRE(
            channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(20)));
    }
    void start_dataplane() {
        dataplane = std::make_unique<Process>(std::vector<std::string>{
            program("DATAPLANE_EXE"), "--config", folder.file("dp.json"), "--no-huge"});
        REQUIRE(in_sync());
    }

    v1::SystemStatus status() {
        grpc::ClientContext context;
        v1::SystemStatus out;
        v1::System::NewStub(channel)->GetStatus(&context, {}, &out);
        return out;
    }
    bool in_sync() {
        return eventually(
            [this] {
                const auto s = status();
                return s.dataplane_state() == v1::SystemStatus::IN_SYNC &&
                       s.installed_revision() == s.store_revision();
            },
            std::chrono::seconds(30));
    }
    std::uint64_t installed(const std::string& table) {
        const v1::SystemStatus now = status();
        for (const auto& row : now.rows())
            if (row.table() == table) return row.installed();
        return 0;
    }

    std::vector<v1::ApplyResult> apply(const std::vector<std::string>& objects,
                                       bool atomic = false) {
        grpc::ClientContext context;
        const auto stub = v1::Resources::NewStub(channel);
        const auto stream = stub->Apply(&context);
        v1::ApplyRequest request;
        request.mutable_options()->set_atomic(atomic);
        for (const auto& json : objects) {
            auto& item = *request.add_items();
            item.set_ordinal(static_cast<std::uint64_t>(request.items_size()));
            *item.mutable_resource() = resource(json);
        }
        stream->Write(request);
        stream->WritesDone();
        std::vector<v1::ApplyResult> results;
        for (v1::ApplyResponse response; stream->Read(&response);)
            results.insert(results.end(), response.results().begin(), response.results().end());
        const auto done = stream->Finish();
        INFO(done.error_message());
        REQUIRE(done.ok());
        return results;
    }
};

}  // namespace

TEST_CASE("references may point forward in a stream, and results come in its order") {
    Fixture f;
    const auto results = f.apply({kSite, kPool4, kPolicy});
    REQUIRE(results.size() == 3);
    for (std::size_t i = 0; i < results.size(); ++i) {
        CHECK(results[i].ordinal() == i + 1);
        CHECK(results[i].outcome() == v1::ApplyResult::CREATED);
    }
    CHECK(results[0].resource() == "subscriber/site-1");
    const auto atomic = f.apply({kSite, R"({"pool":{"name":"x","prefix":"10.0.0.1/8"}})",
                                 R"({"pool":{"name":"y","prefix":"10.0.0.0/8"}})"},
                                true);
    REQUIRE(atomic.size() == 3);
    for (const auto& result : atomic) CHECK(result.outcome() == v1::ApplyResult::REFUSED);
    CHECK(atomic[1].violations(0).field() == "pool.prefix");
}

TEST_CASE("the last line of a name stays, also when an earlier one had to wait") {
    Fixture f;
    const auto site = [](const std::string& prefix, const std::string& policy) {
        return R"({"subscriber":{"name":"ord","prefixes":[")" + prefix + R"("],"policy":")" +
               policy + R"("}})";
    };
    const auto results =
        f.apply({kPolicy, site("203.0.113.8/29", "later"), site("203.0.113.16/29", "default"),
                 R"({"policy":{"name":"later","classes":[{"name":"all","tiers":[
                     {"lines":[{"line":"a"}]}]}]}})"});
    for (const auto& result : results) CHECK(result.outcome() != v1::ApplyResult::REFUSED);
    grpc::ClientContext context;
    v1::GetRequest request;
    request.set_name("ord");
    v1::Subscriber stored;
    REQUIRE(v1::Subscribers::NewStub(f.channel)->Get(&context, request, &stored).ok());
    CHECK(stored.prefixes(0) == "203.0.113.16/29");
}

TEST_CASE("a refusal carries its fields as google.rpc.BadRequest") {
    Fixture f;
    grpc::ClientContext context;
    v1::Pool pool;
    pool.set_name("p");
    pool.set_prefix("10.0.0.1/8");
    const auto status = v1::Pools::NewStub(f.channel)->Create(&context, pool, &pool);
    CHECK(status.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
    google::rpc::Status details;
    REQUIRE(details.ParseFromString(status.error_details()));
    REQUIRE(details.details_size() == 1);
    google::rpc::BadRequest bad;
    REQUIRE(details.details(0).UnpackTo(&bad));
    CHECK(bad.field_violations(0).field() == "pool.prefix");
    CHECK_THAT(bad.field_violations(0).description(), Catch::Contains("host bits set"));
}

TEST_CASE("an empty name is a field that is wrong, and no object that is missing") {
    Fixture f;
    const auto stub = v1::Subscribers::NewStub(f.channel);
    v1::Subscriber found;
    google::protobuf::Empty nothing;
    grpc::ClientContext get;
    grpc::ClientContext remove;
    for (const auto& status : {stub->Get(&get, {}, &found), stub->Delete(&remove, {}, &nothing)}) {
        CHECK(status.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
        CHECK_THAT(status.error_message(), Catch::Contains("name: is empty"));
    }
}

TEST_CASE("desired and installed agree again after either daemon is killed") {
    Fixture f;
    f.start_dataplane();
    f.apply({kPool4, kPolicy, kSite});
    CHECK(f.installed("subscribers") == 1);
    const std::string uuid = f.status().dataplane_uuid();
    f.drd->end(SIGKILL);
    f.start_drd();
    REQUIRE(f.in_sync());
    CHECK(f.status().dataplane_uuid() == uuid);
    CHECK(f.installed("tunnels") == 1);
    f.dataplane->end(SIGKILL);
    REQUIRE(eventually([&] { return f.status().dataplane_state() == v1::SystemStatus::ABSENT; }));
    grpc::ClientContext context;
    v1::DeleteRequest request;
    request.set_name("site-1");
    google::protobuf::Empty nothing;
    REQUIRE(v1::Subscribers::NewStub(f.channel)->Delete(&context, request, &nothing).ok());
    f.start_dataplane();
    CHECK(f.status().dataplane_uuid() != uuid);
    CHECK(f.installed("subscribers") == 0);
    CHECK(f.installed("pools") == 1);
}

TEST_CASE("SIGTERM ends open watches and drd within 2 s") {
    Fixture f;
    grpc::ClientContext context;
    const auto stub = v1::Subscribers::NewStub(f.channel);
    const auto watch = stub->Watch(&context, {});
    v1::SubscriberEvent event;
    REQUIRE(watch->Read(&event));
    CHECK(event.type() == v1::SubscriberEvent::SYNCED);
    const auto begin = std::chrono::steady_clock::now();
    CHECK(f.drd->end(SIGTERM) == 0);
    CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(2));
    CHECK_FALSE(watch->Read(&event));
    CHECK(watch->Finish().ok());
}

}  // namespace dr::control::test
