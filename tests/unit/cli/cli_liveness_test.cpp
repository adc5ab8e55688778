#include <catch2/catch.hpp>
#include <cstdlib>
#include <ctime>

#include "cli/json.h"
#include "cli/liveness_text.h"
#include "cli/tunnel_rows.h"

using namespace dr::cli;
using namespace std::chrono_literals;
using dr::v1::TunnelStatus;

namespace {

TunnelStatus up() {
    TunnelStatus status;
    status.set_subscriber("site-42");
    status.set_state(TunnelStatus::UP);
    status.mutable_tunnel()->set_line("a");
    status.mutable_tunnel()->set_id(16777257);
    auto& l = *status.mutable_liveness();
    l.set_cause("keepalives pass in both directions");
    l.set_active(true);
    l.set_endpoint("198.51.100.7:4754");
    l.set_in_state_ms(307'000);
    l.set_srtt_us(12'340);
    l.set_jitter_us(850);
    l.set_flaps(2);
    auto& w = *l.add_windows();
    w.set_seconds(10);
    w.set_loss_uplink_permille(3);
    return status;
}

}  // namespace

TEST_CASE("a round-trip time has three digits") {
    CHECK(rtt_text(0) == "-");
    CHECK(rtt_text(850) == "0.85ms");
    CHECK(rtt_text(9'994) == "9.99ms");
    CHECK(rtt_text(9'996) == "10.0ms");
    CHECK(rtt_text(99'960) == "100ms");
    CHECK(rtt_text(1'234'000) == "1234ms");
}

TEST_CASE("loss that is not known is not shown as none") {
    CHECK(loss_text(false, 0) == "-");
    CHECK(loss_text(true, 0) == "0%");
    CHECK(loss_text(true, 3) == "0.3%");
    CHECK(loss_text(true, 99) == "9.9%");
    CHECK(loss_text(true, 1000) == "100%");
}

TEST_CASE("an age has its two largest units") {
    CHECK(age_text(999ms) == "0s");
    CHECK(age_text(59s) == "59s");
    CHECK(age_text(307s) == "5m07s");
    CHECK(age_text(3h + 2min + 59s) == "3h02m");
    CHECK(age_text(100h) == "4d4h");
}

TEST_CASE("a time is shown in local time, and in JSON in UTC") {
    ::setenv("TZ", "JST-9", 1);
    ::tzset();
    TunnelStatus status = up();
    auto& time = *status.mutable_liveness()->mutable_since();
    time.set_seconds(1'795'392'944);
    time.set_nanos(123'000'000);
    CHECK(time_text(time) == "2026-11-23 09:15:44.123");
    CHECK(to_json(status)["liveness"]["since"] == "2026-11-23T00:15:44.123Z");
    ::unsetenv("TZ");
    ::tzset();
}

TEST_CASE("a row says what keepalives have shown") {
    const std::vector<std::string> expected{"16777257",
                                            "site-42",
                                            "a",
                                            "UP",
                                            "5m07s",
                                            "12.3ms",
                                            "0.85ms",
                                            "0.3%",
                                            "-",
                                            "2",
                                            "198.51.100.7:4754",
                                            "carries traffic"};
    CHECK(liveness_row(up()) == expected);
    CHECK(liveness_columns().size() == expected.size());
}

TEST_CASE("a line outside a class's limits is shown with each limit and what is measured") {
    TunnelStatus status = up();
    auto& l = *status.mutable_liveness();
    auto& broken = *l.add_broken_limits();
    broken.set_class_name("voice");
    broken.set_max_rtt_ms(150);
    broken.set_max_loss_permille(20);
    broken.set_rtt_us(182'000);
    broken.set_loss_permille(3);
    CHECK(why_text(status) == "carries traffic, outside the limits of class voice");
    const auto entry = [&] {
        for (const auto& [name, value] : liveness_entries(status.liveness()))
            if (name == "Outside limits") return value;
        return std::string("missing");
    };
    CHECK(entry() == "class voice: loss 0.3% of at most 2.0%, RTT 182ms of at most 150ms");
    l.clear_broken_limits();
    CHECK(entry() == "no");
}

TEST_CASE("the reason is that of the state, of being out of use, or of both kinds of trouble") {
    TunnelStatus status = up();
    auto& l = *status.mutable_liveness();
    l.set_active(false);
    CHECK(why_text(status) == "standby");
    l.set_suspect_uplink(true);
    l.set_degraded(true);
    CHECK(why_text(status) == "suspect uplink, degraded");
    l.set_suspect_uplink(false);
    l.set_degraded(false);
    l.set_congested(true);
    CHECK(why_text(status) == "congested");
    l.set_congested(false);
    l.set_ineligible("waits to be restored");
    l.set_restore_left_ms(42'000);
    CHECK(why_text(status) == "waits to be restored (in 42s)");
    l.clear_restore_left_ms();
    l.set_restore_on_trouble(true);
    CHECK(why_text(status) == "waits to be restored (when the line in use has trouble)");
    status.set_state(TunnelStatus::DOWN);
    l.set_cause("no keepalive received for the detection time");
    CHECK(why_text(status) == "no keepalive received for the detection time");
    status.clear_liveness();
    status.set_state(TunnelStatus::STATIC);
    CHECK(why_text(status) == "no keepalives");
    status.set_state(TunnelStatus::PENDING);
    CHECK(why_text(status) == "not installed yet");
}

TEST_CASE("why is never empty, never says a word twice, and names what comes back and when") {
    TunnelStatus status = up();
    auto& l = *status.mutable_liveness();
    l.set_restore_left_ms(44'000);
    CHECK(why_text(status) == "carries traffic; preferred again in 44s");
    l.set_active(false);
    CHECK(why_text(status) == "standby; preferred again in 44s");
    l.set_ineligible("damped: went down too often");
    l.set_damped(true);
    CHECK(why_text(status) == "damped: went down too often (in 44s)");
    l.set_ineligible("keepalives pass, data is lost");
    l.set_damped(false);
    l.set_degraded(true);
    l.clear_restore_left_ms();
    CHECK(why_text(status) == "keepalives pass, data is lost");
    l.set_degraded(false);
    l.set_ineligible("quality outside the policy's limits");
    l.set_restore_left_ms(44'000);
    l.add_broken_limits()->set_class_name("voice");
    CHECK(why_text(status) == "outside the limits of class voice; preferred again in 44s");
    for (const auto state : {TunnelStatus::DOWN, TunnelStatus::INIT, TunnelStatus::ADMIN_DOWN}) {
        status.set_state(state);
        l.set_cause("");
        CHECK(why_text(status) == "not up");
    }
}
