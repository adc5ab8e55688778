// Runs the watchdog: judges ports and workers, and repairs ports.
#include "dataplane/ports/port_watch.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <utility>

namespace dr {

using southbound::Fault;
using southbound::Health;
using southbound::HealthState;

namespace {

// A gap between two checks that shows that this process itself did not run.
constexpr std::uint64_t kGapMs = 1'000;
// The kernel is asked for programs and interfaces once in this many checks.
constexpr unsigned kProgramRounds = 4;
// A longer pause is given up: a worker does not run its loop.
constexpr std::uint64_t kPauseMs = 2'000;
// Time for packets in the kernel to return to the completion ring, and for the kernel to release a
// closed socket's queue.
constexpr std::uint64_t kSettleMs = 200, kReleaseMs = 100;
constexpr std::uint64_t kWaitMs = 250, kForeignMs = 1'000;
// The longest wait for a repair that is cheap, or that waiting does not help.
constexpr std::uint64_t kCheapMs = 1'000;
// A stall within this time after a repair counts as the same one.
constexpr std::uint64_t kSoonMs = 60'000;
constexpr std::uint64_t kLongestMs = 600'000;

std::uint64_t back_off(unsigned times) {
    return std::min(kLongestMs, std::uint64_t{1'000} << std::min(times, 20U));
}

bool is_cheap(Fault fault) {
    return fault == Fault::ProgramDetached || fault == Fault::InterfaceGone ||
           fault == Fault::InterfaceReplaced;
}

template <typename... Arguments>
void say(fmt::format_string<Arguments...> text, Arguments&&... arguments) {
    fmt::print(stderr, "dr-dataplane: {}\n",
               fmt::format(text, std::forward<Arguments>(arguments)...));
}

void add(std::uint64_t& counter, std::uint64_t by = 1) {
    __atomic_store_n(&counter, counter + by, __ATOMIC_RELAXED);
}

const char* text_of(Fault fault) {
    return southbound::kFaultTexts[static_cast<std::size_t>(fault)];
}

}  // namespace

PortWatch::PortWatch(Around around)
    : around_(std::move(around)),
      ports_(around_.ports->ports().size()),
      workers_(around_.turns.size()) {
    for (std::uint16_t i = 0; i < ports_.size(); ++i) {
        const auto rings = around_.ports->rings(i);
        const bool xdp = around_.ports->ports()[i].kind == PortKind::AfXdp;
        if (xdp && rings.empty())
            say("notice: port {}: its sockets' rings cannot be read, so the port is not watched",
                name(i));
        if (!xdp || rings.empty()) continue;
        Watched& w = ports_[i];
        w.xdp = true;
        w.ifindex = interface_of(around_.ports->config(i).interface).index;
        w.zero_copy = rings.front()->zero_copy();
        w.queues.resize(rings.size());
    }
}

const std::string& PortWatch::name(std::uint16_t number) const {
    return around_.ports->ports()[number].name;
}

bool PortWatch::workers_turn() const {
    return std::none_of(workers_.begin(), workers_.end(), [](const Loop& w) { return w.stands; });
}

void PortWatch::write(Health& health, HealthState state, Fault fault) const {
    const auto store = [](std::uint64_t& word, std::uint64_t value) {
        __atomic_store_n(&word, value, __ATOMIC_RELAXED);
    };
    const auto before = static_cast<HealthState>(health.state);
    if (state != before) store(health.since_ns, now_ns_);
    if (fault != Fault::None) store(health.fault, static_cast<std::uint64_t>(fault));
    if (state == HealthState::Stalled && before != state) add(health.stalls);
    if (state == HealthState::Ok && before == HealthState::Stalled) add(health.repairs);
    store(health.state, static_cast<std::uint64_t>(state));
}

void PortWatch::tick(std::uint64_t now_ns) {
    now_ns_ = now_ns;
    now_ms_ = now_ns / 1'000'000;
    for (std::uint16_t i = 0; i < ports_.size(); ++i) {
        if (ports_[i].phase == Phase::Pausing) try_close(i, ports_[i]);
        if (ports_[i].phase == Phase::Closed && now_ms_ >= ports_[i].next_ms)
            try_open(i, ports_[i]);
    }
    if (now_ms_ - sampled_ms_ < kSampleMs) return;
    if (now_ms_ - sampled_ms_ > kGapMs) {
        for (Watched& w : ports_)
            for (QueueJudge& queue : w.queues) queue.forget();
        for (Loop& worker : workers_) worker.since_ms = now_ms_;
    }
    sampled_ms_ = now_ms_;
    ++round_;
    look_at_workers();
    for (std::uint16_t i = 0; i < ports_.size(); ++i)
        if (ports_[i].xdp && ports_[i].phase == Phase::Watching) look_at_port(i, ports_[i]);
}

void PortWatch::look_at_workers() {
    for (std::uint16_t i = 0; i < workers_.size(); ++i) {
        Loop& worker = workers_[i];
        Health& health = *around_.worker_health[i];
        const std::uint64_t turns = __atomic_load_n(around_.turns[i], __ATOMIC_RELAXED);
        const bool turns_now = turns != worker.turns;
        if (turns_now) worker.since_ms = now_ms_;
        worker.turns = turns;
        const bool stands = now_ms_ - worker.since_ms >= kWorkerMs;
        if (stands == worker.stands) {
            if (!stands) write(health, HealthState::Ok, Fault::None);
            continue;
        }
        worker.stands = stands;
        write(health, stands ? HealthState::Stalled : HealthState::Ok,
              stands ? Fault::WorkerStands : Fault::None);
        if (stands)
            say("error: worker {} has not turned for {} ms: what it polls stands still; is its CPU "
                "taken by something else?",
                i, kWorkerMs);
        else
            say("notice: worker {} turns again", i);
        around_.tell({true, i, stands, Fault::WorkerStands});
    }
}

Fault PortWatch::judge(std::uint16_t number, Watched& w, const Interface& interface) {
    if (interface.index == 0) return Fault::InterfaceGone;
    if (interface.index != w.ifindex) return Fault::InterfaceReplaced;
    const std::string& device = around_.ports->config(number).interface;
    const XdpMaps* maps = around_.ports->steering().of(device);
    const bool detached = w.fault == Fault::ProgramDetached || w.fault == Fault::ForeignProgram;
    if (maps != nullptr && (detached || round_ % kProgramRounds == 0)) {
        const std::uint32_t id = xdp_attached_id(device);
        if (id == 0) return Fault::ProgramDetached;
        if (id != maps->program_id()) return Fault::ForeignProgram;
    }
    Fault fault = Fault::None;
    const auto rings = around_.ports->rings(number);
    for (std::size_t q = 0; q < rings.size(); ++q) {
        // The order of these reads matters: a packet that arrives in between appears in the rings
        // the next time, and a dropped packet was counted as arrived earlier.
        XskRings::Sample sample = rings[q]->sample();
        const std::uint64_t arrived =
            maps == nullptr ? 0 : maps->arrived(static_cast<std::uint32_t>(q));
        rings[q]->add_statistics(&sample);
        const Fault found =
            w.queues[q].look(now_ms_, sample, arrived, w.zero_copy, interface.running);
        add(around_.port_health[number]->missed, w.queues[q].missed());
        if (w.queues[q].wants_kick()) rings[q]->kick();
        if (found != Fault::None) fault = found;
    }
    // When its worker stops, a queue stops too; that counts as the worker's fault.
    return workers_turn() ? fault : Fault::None;
}

void PortWatch::look_at_port(std::uint16_t number, Watched& w) {
    const PortConfig& config = around_.ports->config(number);
    const Interface interface = interface_of(config.interface);
    const Fault fault = judge(number, w, interface);
    if (fault == Fault::None) {
        if (w.fault != Fault::None) return recovered(number, w, "is well again");
        write(*around_.port_health[number], HealthState::Ok, Fault::None);
        const Port& port = around_.ports->ports()[number];
        const bool another = !config.mac && interface.mac != port.mac;
        const bool others =
            round_ % kProgramRounds == 0 && macs_above(config.interface) != port.other_macs;
        if (another || others) pause(number, w);
        return;
    }
    if (fault != w.fault) stalled(number, w, fault);
    if (fault == Fault::ForeignProgram || now_ms_ < w.next_ms) return;
    if (fault != Fault::ProgramDetached) return pause(number, w);
    add(around_.port_health[number]->attempts);
    std::string why;
    if (around_.ports->steering().reattach(config.interface, &why))
        return recovered(number, w, "repaired: its steering program is attached again");
    not_opened(number, w, why, kCheapMs);
}

void PortWatch::stalled(std::uint16_t number, Watched& w, Fault fault) {
    const bool again = w.repaired_ms != 0 && now_ms_ - w.repaired_ms < kSoonMs;
    if (is_cheap(fault)) {
        const std::uint64_t next = again ? std::max(now_ms_, w.repaired_ms + kCheapMs) : now_ms_;
        w.next_ms = w.fault == Fault::None ? next : std::min(w.next_ms, next);
    } else if (w.fault == Fault::None) {
        w.soon = again ? w.soon + 1 : 0;
        // The first repair is at once.
        w.next_ms = w.soon == 0 ? now_ms_ : w.repaired_ms + back_off(w.soon);
    }
    w.fault = fault;
    w.failures = 0;
    w.said.clear();
    say("error: port {} is stalled: {}", name(number), text_of(fault));
    write(*around_.port_health[number], HealthState::Stalled, fault);
    around_.tell({false, number, true, fault});
}

void PortWatch::recovered(std::uint16_t number, Watched& w, const char* how) {
    const Fault fault = w.fault;
    const std::uint64_t since = around_.port_health[number]->since_ns;
    say("notice: port {} {} after {} ms ({})", name(number), how, (now_ns_ - since) / 1'000'000,
        text_of(fault));
    w.fault = Fault::None;
    w.repaired_ms = now_ms_;
    w.failures = 0;
    write(*around_.port_health[number], HealthState::Ok, Fault::None);
    around_.tell({false, number, false, fault});
}

void PortWatch::pause(std::uint16_t number, Watched& w) {
    (*around_.paused)[number].store(true, std::memory_order_release);
    w.token = around_.qsbr->retire();
    w.phase = Phase::Pausing;
    w.since_ms = now_ms_;
}

void PortWatch::try_close(std::uint16_t number, Watched& w) {
    if (!around_.qsbr->passed(w.token)) {
        if (now_ms_ - w.since_ms < kPauseMs) return;
        w.next_ms = now_ms_ + back_off(w.failures++);
        (*around_.paused)[number].store(false, std::memory_order_release);
        w.phase = Phase::Watching;
        return;
    }
    if (w.fault == Fault::None) {
        around_.ports->follow_mac(number);
        say("notice: port {} has other MAC addresses now", name(number));
        return resume(number, w);
    }
    for (const auto& rings : around_.ports->rings(number)) {
        const XskRings::Sample sample = rings->sample();
        if (sample.tx.consumed != sample.completion.produced && now_ms_ - w.since_ms < kSettleMs)
            return;
    }
    Health& health = *around_.port_health[number];
    add(health.attempts);
    const StartLog quiet;  // of an interface that is gone the driver says what is known
    const unsigned lost = around_.ports->close(number);
    add(health.buffers_lost, lost);
    if (lost != 0)
        say("notice: port {}: {} packet buffers were in other hands and are lost", name(number),
            lost);
    w.phase = Phase::Closed;
    w.next_ms = now_ms_ + kReleaseMs;
}

void PortWatch::try_open(std::uint16_t number, Watched& w) {
    const std::string& device = around_.ports->config(number).interface;
    const Interface interface = interface_of(device);
    if (interface.index == 0) {
        if (w.fault != Fault::InterfaceGone) stalled(number, w, Fault::InterfaceGone);
        w.next_ms = now_ms_ + kWaitMs;
        return;
    }
    if (!interface.up)
        return not_opened(
            number, w, fmt::format("{} is down: ip link set dev {} up", device, device), kWaitMs);
    if (xdp_attached_id(device) != 0)
        return not_opened(
            number, w,
            fmt::format("another XDP program is attached: ip link set dev {} xdp off", device),
            kForeignMs);
    std::string why;
    StartLog log;
    if (!around_.ports->reopen(number, &why))
        return not_opened(number, w, why + log.text(), back_off(w.failures));
    const auto rings = around_.ports->rings(number);
    w.ifindex = interface.index;
    w.zero_copy = !rings.empty() && rings.front()->zero_copy();
    w.queues.assign(rings.size(), {});
    resume(number, w);
    recovered(number, w, "repaired: it is open again");
}

void PortWatch::not_opened(std::uint16_t number, Watched& w, const std::string& why,
                           std::uint64_t pause_ms) {
    ++w.failures;
    w.next_ms = now_ms_ + pause_ms;
    if (why == w.said) return;
    w.said = why;
    say("error: port {} cannot be repaired yet: {}", name(number), why);
}

void PortWatch::resume(std::uint16_t number, Watched& w) {
    for (QueueJudge& queue : w.queues) queue.forget();
    w.phase = Phase::Watching;
    w.next_ms = 0;
    (*around_.paused)[number].store(false, std::memory_order_release);
}

}  // namespace dr
