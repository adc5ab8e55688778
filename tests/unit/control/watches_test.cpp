// How many streams are served, and for how long one that nobody reads.
#include "control/api/watches.h"

#include <atomic>
#include <future>
#include <optional>

#include "control/api/work.h"
#include "control/model/counts.h"
#include "dr/v1/api.grpc.pb.h"
#include "tests/unit/control/support.h"

namespace dr::control::test {
namespace {

using namespace std::chrono_literals;

// Writes without end, and says when it was stopped.
class Endless final : public v1::Subscribers::Service {
  public:
    grpc::Status Watch(grpc::ServerContext*, const v1::WatchRequest*,
                       grpc::ServerWriter<v1::SubscriberEvent>* writer) override {
        v1::SubscriberEvent event;
        event.mutable_subscriber()->set_name(std::string(10'000, 'x'));
        while (writer->Write(event)) ++written;
        stopped = true;
        return grpc::Status::OK;
    }
    std::atomic<int> written{0};
    std::atomic<bool> stopped{false};
};

struct Served {
    StallGuard stalls;
    Endless service;
    std::unique_ptr<grpc::Server> server;
    std::shared_ptr<grpc::Channel> channel;

    explicit Served(std::chrono::milliseconds patience) : stalls(patience) {
        grpc::ServerBuilder builder;
        int port = 0;
        builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
        builder.RegisterService(&service);
        stalls.add_to(builder);
        server = builder.BuildAndStart();
        REQUIRE(server);
        channel = grpc::CreateChannel("127.0.0.1:" + std::to_string(port),
                                      grpc::InsecureChannelCredentials());
    }
    ~Served() { server->Shutdown(std::chrono::system_clock::now()); }
};

}  // namespace

TEST_CASE("a stream whose client stops reading is ended after the guard's patience") {
    Served served(500ms);
    grpc::ClientContext context;
    const auto stub = v1::Subscribers::NewStub(served.channel);
    const auto stream = stub->Watch(&context, {});
    v1::SubscriberEvent event;
    REQUIRE(stream->Read(&event));
    CHECK(eventually([&] { return served.service.stopped.load(); }, 10s));
    context.TryCancel();
    stream->Finish();
}

TEST_CASE("a stream whose client reads goes on beyond the guard's patience") {
    Served served(300ms);
    grpc::ClientContext context;
    const auto stub = v1::Subscribers::NewStub(served.channel);
    const auto stream = stub->Watch(&context, {});
    v1::SubscriberEvent event;
    const auto until = std::chrono::steady_clock::now() + 1s;
    while (std::chrono::steady_clock::now() < until) REQUIRE(stream->Read(&event));
    CHECK_FALSE(served.service.stopped);
    context.TryCancel();
    stream->Finish();
}

TEST_CASE("a guard that is stopped waits for no client") {
    Served served(1h);
    grpc::ClientContext context;
    const auto stub = v1::Subscribers::NewStub(served.channel);
    const auto stream = stub->Watch(&context, {});
    v1::SubscriberEvent event;
    REQUIRE(stream->Read(&event));
    served.stalls.stop();
    CHECK(eventually([&] { return served.service.stopped.load(); }, 10s));
    context.TryCancel();
    stream->Finish();
}

TEST_CASE(
    "streams are limited in all, of a client and of a connection, and a place is free again") {
    StreamLimit limit("watches", {5, 3, 2});
    std::optional<StreamLimit::Place> first(limit.enter({"alice", "1"}));
    const auto second = limit.enter({"alice", "1"});
    REQUIRE((first->valid() && second.valid()));
    CHECK_FALSE(limit.enter({"alice", "1"}).valid());
    CHECK_THAT(limit.refusal().error_message(), Catch::Contains("too many watches"));
    CHECK(limit.refusal().error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
    first.reset();
    CHECK(limit.enter({"alice", "1"}).valid());
    const auto a = limit.enter({"alice", "1"});
    const auto b = limit.enter({"alice", "2"});
    CHECK((a.valid() && b.valid()));
    CHECK_FALSE(limit.enter({"alice", "3"}).valid());
    const auto c = limit.enter({"bob", "4"});
    const auto d = limit.enter({"bob", "4"});
    CHECK((c.valid() && d.valid()));
    CHECK_FALSE(limit.enter({"carol", "5"}).valid());
}

TEST_CASE("open calls are limited of each connection, and a place is free again") {
    OpenCalls calls;
    const std::string first = std::to_string(calls.next_connection());
    const std::string second = std::to_string(calls.next_connection());
    for (unsigned i = 0; i < OpenCalls::kMostOfConnection; ++i) REQUIRE(calls.begin(first));
    CHECK_FALSE(calls.begin(first));
    CHECK(calls.begin(second));
    calls.end(first);
    CHECK(calls.begin(first));
    CHECK_FALSE(calls.begin(first));
}

TEST_CASE("work of a connection, or a client, that does not end leaves another one's its turn") {
    std::promise<void> over;
    const auto end = over.get_future().share();
    std::atomic<unsigned> running{0};
    std::atomic<unsigned> done{0};
    {
        Work work;
        for (int i = 0; i < 300; ++i)
            work.add({"alice", std::to_string(i % 10)}, [&] {
                ++running;
                end.wait();
            });
        CHECK(eventually([&] { return running == Work::kMostOfClient; }));
        std::promise<void> answered;
        work.add({"bob", "99"}, [&] { answered.set_value(); });
        CHECK(answered.get_future().wait_for(10s) == std::future_status::ready);
        for (unsigned i = 0; i < 100; ++i) work.add({"bob", "98"}, [&] { ++done; });
        CHECK(eventually([&] { return done == 100; }));
        CHECK(running == Work::kMostOfClient);
        over.set_value();
    }
    CHECK(running == 300);  // what waits is done before the end
}

TEST_CASE("an object with more of anything than the product allows is refused by the count alone") {
    v1::Policy policy;
    policy.set_name("p");
    auto& tier = *policy.add_classes()->add_tiers();
    for (int i = 0; i < 100'000; ++i) tier.add_lines();
    CHECK(check_counts(policy).code == Code::ResourceExhausted);
    CHECK_THAT(check_counts(policy).message, Catch::Contains("100000 lines; the limit is 16"));
    policy.mutable_classes(0)->clear_tiers();
    for (int i = 0; i < 17; ++i) policy.mutable_classes(0)->add_tiers();
    CHECK(check_counts(policy).code == Code::ResourceExhausted);
    v1::Subscriber subscriber;
    for (int i = 0; i < 65; ++i) subscriber.add_prefixes();
    CHECK_THAT(check_counts(subscriber).message, Catch::Contains("65 prefixes; the limit is 64"));
    subscriber.clear_prefixes();
    for (int i = 0; i < 17; ++i) subscriber.add_tunnels();
    CHECK_THAT(check_counts(subscriber).message, Catch::Contains("17 tunnels; the limit is 16"));
    subscriber.clear_tunnels();
    CHECK(check_counts(subscriber).ok());
    subscriber.set_name(std::string(1 << 20, 'x'));
    CHECK(check_counts(subscriber).message.size() < 200);
}

TEST_CASE("of an object with many faults the first are told, and the number of the others") {
    Findings findings;
    for (int i = 0; i < 1000; ++i)
        findings.invalid("policy.classes[" + std::to_string(i) + "]", std::string(50, 'x'));
    const Failure failure = findings.failure();
    REQUIRE(failure.violations.size() == Findings::kMostViolations + 1);
    CHECK(failure.violations.back().field == "policy");
    CHECK(failure.violations.back().description == "and more of this kind: 984");
    Findings wordy;
    for (int i = 0; i < 1000; ++i) wordy.invalid("pool.name", std::string(100'000, 'x'));
    std::size_t bytes = 0;
    for (const auto& v : wordy.failure().violations) bytes += v.field.size() + v.description.size();
    CHECK(bytes < Findings::kMostText + Findings::kMostText / 3 + 100);
}

}  // namespace dr::control::test
