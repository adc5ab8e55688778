// drd's threads, put together as control/main.cpp does it, without gRPC: operators' requests, the
// link to the data plane, the signalling hub, the event log's writer.
#include <fmt/format.h>

#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "control/daemon/options.h"
#include "control/events/event_tail.h"
#include "control/events/told_changes.h"
#include "control/signalling/attachment.h"
#include "control/signalling/credentials.h"
#include "control/signalling/hub.h"
#include "control/southbound/link.h"
#include "control/store/sqlite.h"
#include "tests/unit/control/fake_dataplane.h"
#include "tests/unit/control/support.h"

namespace dr::control::test {
namespace {

std::string site(int number, const char* profile = "FIXED") {
    return fmt::format(
        R"({{"subscriber":{{"name":"site-{}","policy":"default","profile":"{}",
            "prefixes":["203.0.113.{}/29"],"tunnels":[
            {{"line":"a","encapsulation":"GRE_UDP","local":"192.0.2.1"}}]}}}})",
        number, profile, number * 8);
}

Options options_for(const TemporaryFolder& folder) {
    Options options;
    options.store = folder.file("db");
    options.signalling = "127.0.0.1:4755";
    return options;
}

struct Drd {
    TemporaryFolder folder;
    std::unique_ptr<Store> store = open_sqlite_store(folder.file("db"));
    Catalog catalog{*store};
    Credentials credentials{options_for(folder)};
    Journal journal;
    SignallingHub hub{catalog, credentials.drs(), credentials.others()};
    Link link{catalog, folder.file("dp.sock")};
    EventLog log{folder.file("log"), {}};
    EventTail events{[this] { return link.live(); }, catalog, log, journal};

    Drd() {
        hub.set_journal(journal);
        catalog.set_installer(link);
        catalog.set_listener([this](const auto& changes) {
            tell_changes(journal, changes);
            hub.publish(changes);
        });
        for (const char* json : {kPool4, kPolicy}) REQUIRE(apply(json).failure.ok());
    }
    ~Drd() {
        hub.stop();
        events.stop();
        link.stop();
    }
    Drd(const Drd&) = delete;
    Drd& operator=(const Drd&) = delete;

    Result apply(const std::string& json, Request::Mode mode = Request::Mode::Apply) {
        return catalog.apply_one({mode, object(json)});
    }
};

// Runs each function in a thread; the last one of these is over when all others are.
class Together {
  public:
    explicit Together(const std::vector<std::function<void()>>& work) {
        for (const auto& each : work) threads_.emplace_back(each);
    }
    ~Together() { join(); }
    Together(const Together&) = delete;
    Together& operator=(const Together&) = delete;
    void join() {
        for (auto& thread : threads_)
            if (thread.joinable()) thread.join();
    }

  private:
    std::vector<std::thread> threads_;
};

// A router's stream that notes what it is told.
class ToldUr final : public UrStream {
  public:
    ToldUr(const std::string& subscriber, const pki::Certificate& certificate) {
        peer_.subscriber = subscriber;
        peer_.certificate = certificate;
        peer_.address = "ipv4:198.51.100.7:40000";
    }
    [[nodiscard]] const PeerIdentity& peer() const override { return peer_; }
    [[nodiscard]] std::vector<v1::Line> lines() override { return {}; }
    [[nodiscard]] v1::AttachmentStatus status() override {
        v1::AttachmentStatus status;
        status.set_subscriber(peer_.subscriber);
        return status;
    }
    [[nodiscard]] bool over() const override { return over_; }
    [[nodiscard]] std::string why_over() const override { return "the stream is over"; }
    [[nodiscard]] bool ended() override { return reason() != 0; }
    void send(v1::Attachment attachment) override {
        const std::lock_guard lock(mutex_);
        last_ = std::move(attachment);
    }
    void end(v1::Refused::Reason reason, const std::string&) override {
        const std::lock_guard lock(mutex_);
        if (reason_ == 0) reason_ = reason;
    }

    // As gRPC does when the stream is done.
    void leave(SignallingHub& hub) {
        over_ = true;
        hub.leave(*this);
    }
    [[nodiscard]] int reason() const {
        const std::lock_guard lock(mutex_);
        return reason_;
    }
    [[nodiscard]] std::optional<v1::Attachment> last() const {
        const std::lock_guard lock(mutex_);
        return last_;
    }

  private:
    PeerIdentity peer_;
    std::atomic<bool> over_{false};
    mutable std::mutex mutex_;  // all below
    int reason_ = 0;
    std::optional<v1::Attachment> last_;
};

}  // namespace

TEST_CASE("operators write and read while the data plane comes and goes, and all is installed",
          "[threads]") {
    Drd drd;
    std::vector<Object> sites;
    sites.reserve(4);
    for (int n = 0; n < 4; ++n) sites.push_back(object(site(n)));
    auto dataplane = std::make_unique<FakeDataplane>(drd.folder.file("dp.sock"),
                                                     southbound::kVersion, accept_all);
    drd.link.start();
    drd.events.start();
    std::atomic<int> writers{2};
    std::atomic<int> refused{0};
    std::string why;  // by the last one who was
    std::mutex why_mutex;
    const auto change = [&](Request::Mode mode, const Object& site) {
        const Result result = drd.catalog.apply_one({mode, site});
        if (result.failure.ok()) return;
        ++refused;
        const std::lock_guard lock(why_mutex);
        why = result.failure.message;
    };
    const auto write = [&](std::size_t first) {
        for (int round = 0; round < 20; ++round)
            for (const auto mode : {Request::Mode::Apply, Request::Mode::Delete})
                for (std::size_t n = first; n < first + 2; ++n) change(mode, sites[n]);
        for (std::size_t n = first; n < first + 2; ++n) change(Request::Mode::Apply, sites[n]);
        --writers;
    };
    const auto read = [&] {
        while (writers > 0) {
            const auto page = drd.catalog.list(Kind::Subscriber, {});
            for (const auto& one : page.objects) (void)drd.catalog.site(std::get<2>(one).name());
            (void)drd.link.status(false);
            if (const auto live = drd.link.live()) (void)live->tunnel(0x01000007);
            (void)drd.link.counters();
            (void)drd.link.drops();
            (void)drd.events.status();
            (void)drd.log.list({}, 0, INT64_MAX, "", 100);
        }
    };
    {
        Together all({[&] { write(0); }, [&] { write(2); }, read, read});
        const bool synced =
            eventually([&] { return drd.link.status(true).state == LinkState::InSync; });
        dataplane.reset();
        dataplane = std::make_unique<FakeDataplane>(drd.folder.file("dp.sock") + ".new",
                                                    southbound::kVersion, accept_all);
        std::filesystem::rename(drd.folder.file("dp.sock") + ".new", drd.folder.file("dp.sock"));
        all.join();
        CHECK(synced);
    }
    INFO(why);
    CHECK(refused == 0);
    CHECK(drd.catalog.list(Kind::Subscriber, {}).objects.size() == 4);
    CHECK(eventually([&] {
        const LinkStatus status = drd.link.status(false);
        return status.state == LinkState::InSync &&
               status.installed_revision == drd.catalog.revision();
    }));
}

TEST_CASE("each event of the data plane and of drd itself is logged once while others read the log",
          "[threads]") {
    constexpr int kEvents = 100;
    Drd drd;
    FakeDataplane dataplane(drd.folder.file("dp.sock"), southbound::kVersion, accept_all);
    drd.link.start();
    drd.events.start();
    const auto happen = [&] {
        for (std::uint32_t n = 1; n <= kEvents; ++n) {
            southbound::LivenessMemfd::EventFields fields{};
            fields.tunnel = 0x01000000 + n;
            fields.kind = 1;
            dataplane.liveness().add_event(fields);
        }
    };
    const auto tell = [&](const char* subscriber) {
        for (int n = 0; n < kEvents; ++n)
            drd.journal.tell(Journal::Level::Info, {kEnrolled, subscriber, {}, {}, 0, {}});
    };
    const auto count = [&](const EventQuery& query) {
        return drd.log.list(query, 0, INT64_MAX, "", 1000).events.size();
    };
    const auto logged = [&] {
        EventQuery enrolled;
        enrolled.kinds = {kEnrolled};
        EventQuery last;
        last.tunnel = 0x01000000 + kEvents;
        return count(enrolled) >= 2 * kEvents && count(last) >= 1;
    };
    std::atomic<bool> done{false};
    const auto read = [&] {
        std::int64_t id = 0;
        while (!done) {
            if (drd.log.wait_for(id, std::chrono::milliseconds(20)))
                (void)drd.log.after({}, id, 100);
            (void)drd.log.count();
        }
    };
    {
        Together all({happen, [&] { tell("site-1"); }, [&] { tell("site-2"); }, read, read});
        const bool arrived = eventually(logged, std::chrono::seconds(60));
        done = true;
        all.join();
        CHECK(arrived);
    }
    for (const char* subscriber : {"site-1", "site-2"}) {
        EventQuery enrolled;
        enrolled.kinds = {kEnrolled};
        enrolled.subscriber = subscriber;
        CHECK(count(enrolled) == kEvents);
    }
    int otherwise = 0;
    for (std::uint32_t n = 1; n <= kEvents; ++n) {
        EventQuery of_tunnel;
        of_tunnel.tunnel = 0x01000000 + n;
        otherwise += count(of_tunnel) != 1;
    }
    CHECK(otherwise == 0);
}

TEST_CASE("routers attach over each other while sites change, and each site keeps its last one",
          "[threads]") {
    constexpr int kSites = 3;
    constexpr int kStreams = 12;
    Drd drd;
    std::vector<pki::Certificate> certificates;
    for (int n = 0; n < kSites; ++n) {
        REQUIRE(drd.apply(site(n)).failure.ok());
        v1::Credentials issued;
        std::uint32_t older = 0;
        REQUIRE(drd.credentials.enroll(drd.catalog, fmt::format("site-{}", n), false, issued, older)
                    .ok());
        certificates.push_back(pki::parse_certificates(issued.certificate()).at(0));
    }
    std::vector<std::vector<std::shared_ptr<ToldUr>>> streams(kSites);
    for (int n = 0; n < kSites; ++n)
        for (int k = 0; k < kStreams; ++k)
            streams[n].push_back(
                std::make_shared<ToldUr>(fmt::format("site-{}", n), certificates[n]));
    std::atomic<int> attaching{kSites};
    std::atomic<int> untold{0};
    const auto attach = [&](int n) {
        std::shared_ptr<ToldUr> before;
        for (const auto& stream : streams[n]) {
            drd.hub.look_at(stream);
            untold += !eventually([&] { return stream->last().has_value(); });
            if (before) before->leave(drd.hub);
            before = stream;
        }
        --attaching;
    };
    const std::array changes{object(site(0, "MOBILE")), object(site(0)), object(kPolicy)};
    const auto change = [&] {
        while (attaching > 0)
            for (const auto& each : changes) {
                (void)drd.catalog.apply_one({Request::Mode::Apply, each});
                (void)drd.hub.look_again("site-2");
            }
        (void)drd.catalog.apply_one({Request::Mode::Apply, changes[0]});
    };
    const auto look = [&] {
        while (attaching > 0) {
            (void)drd.hub.list("", "", 10);
            (void)drd.hub.fingerprint_in_use("site-1");
        }
    };
    Together({[&] { attach(0); }, [&] { attach(1); }, [&] { attach(2); }, change, look}).join();
    CHECK(untold == 0);
    CHECK(drd.hub.list("", "", 10).size() == kSites);
    for (const auto& of_site : streams) {
        int superseded = 0;
        for (const auto& stream : of_site)
            superseded += stream->reason() == v1::Refused::SUPERSEDED;
        CHECK(superseded == kStreams - 1);
        CHECK(of_site.back()->reason() == 0);
    }
    const auto mobile = timers_of(v1::MOBILE).SerializeAsString();
    CHECK(eventually([&] {
        const auto last = streams[0].back()->last();
        return last && last->tunnels_size() == 1 &&
               last->tunnels(0).timers().SerializeAsString() == mobile;
    }));

    REQUIRE(drd.catalog.revoke("site-1").failure.ok());
    (void)drd.hub.look_again("site-1");
    CHECK(eventually([&] { return streams[1].back()->reason() == v1::Refused::REVOKED; }));
    drd.hub.stop();
    CHECK(streams[0].back()->reason() == v1::Refused::UNAVAILABLE);
    CHECK(streams[2].back()->reason() == v1::Refused::UNAVAILABLE);
}

}  // namespace dr::control::test
