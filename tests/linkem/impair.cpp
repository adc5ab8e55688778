#include "tests/linkem/impair.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace dr::linkem {
namespace {

// The finalizer of SplitMix64: every input bit reaches every output bit.
std::uint64_t mix(std::uint64_t x) {
    x += 0x9e3779b97f4a7c15ULL;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
    return x ^ (x >> 31);
}

constexpr double kNanosecondsPerSecond = 1e9;

Nanoseconds transmission_time(const Rate& rate, std::uint64_t bytes) {
    return static_cast<Nanoseconds>(static_cast<double>(bytes) * 8 * kNanosecondsPerSecond /
                                    static_cast<double>(rate.bits_per_second));
}

}  // namespace

Direction::Direction(std::uint64_t seed, unsigned number) : seed_(seed), number_(number) {}

void Direction::configure(const Impairments& impairments, Nanoseconds now) {
    if (impairments.delay.trace != impairments_.delay.trace) {
        trace_begin_ = now;
        trace_next_ = 0;
    }
    if (!impairments.gilbert_elliott) bad_state_ = false;
    // What the old order of things promised to the packets behind does not bind the new one.
    if (!impairments.keep_order) last_due_ = 0;
    if (!impairments.rate) line_free_ = 0;
    impairments_ = impairments;
}

void Direction::reseed(std::uint64_t seed) {
    seed_ = seed;
    packet_ = 0;
    bad_state_ = false;
    trace_next_ = 0;
}

double Direction::draw(Draw what) const {
    const std::uint64_t stream =
        mix(seed_ ^ mix((std::uint64_t{number_} << 8) | static_cast<std::uint64_t>(what)));
    return static_cast<double>(mix(stream ^ mix(packet_)) >> 11) * 0x1p-53;
}

bool Direction::happens(Draw what, double probability) const {
    return probability > 0 && draw(what) < probability;
}

std::optional<Counter> Direction::lost(const Packet& packet) {
    const auto& i = impairments_;
    if (i.cut != Cut::None) return Counter::drop_cut;
    if (i.black_hole == BlackHole::Keepalives && packet.kind == Packet::Kind::Keepalive)
        return Counter::drop_keepalive;
    if (i.black_hole == BlackHole::Data && packet.kind == Packet::Kind::Data)
        return Counter::drop_data;
    if (happens(Draw::Loss, i.loss)) return Counter::drop_loss;
    if (i.gilbert_elliott) {
        const auto& model = *i.gilbert_elliott;
        if (happens(Draw::State, bad_state_ ? model.leave : model.enter)) bad_state_ = !bad_state_;
        if (happens(Draw::BurstLoss, bad_state_ ? model.loss_bad : model.loss_good))
            return Counter::drop_burst_loss;
    }
    return std::nullopt;
}

double Direction::distribution_ns() {
    const auto& d = impairments_.delay;
    const auto first = static_cast<double>(d.first);
    const auto second = static_cast<double>(d.second);
    const auto gauss = [&] {  // Box and Muller; 1 - u is never 0
        return std::sqrt(-2 * std::log(1 - draw(Draw::Delay))) *
               std::cos(2 * std::numbers::pi * draw(Draw::Delay2));
    };
    switch (d.kind) {
        case Delay::Kind::Uniform:
            return first + (second - first) * draw(Draw::Delay);
        case Delay::Kind::Normal:
            return first + second * gauss();
        case Delay::Kind::Lognormal:
            return first * std::exp(d.spread * gauss());
        case Delay::Kind::Fixed:
        case Delay::Kind::Trace:
            break;
    }
    return first;
}

Nanoseconds Direction::delay(Nanoseconds now) {
    const auto& d = impairments_.delay;
    Nanoseconds value;
    if (d.kind == Delay::Kind::Trace) {
        const auto position =
            d.trace_interval > 0
                ? static_cast<std::uint64_t>((now - trace_begin_) / d.trace_interval)
                : trace_next_++;
        value = (*d.trace)[position % d.trace->size()];
    } else if (d.kind == Delay::Kind::Fixed) {
        value = d.first;
    } else {
        value = std::llround(std::min(distribution_ns(), 1e15));
    }
    if (impairments_.jitter > 0)
        value +=
            std::llround(static_cast<double>(impairments_.jitter) * (2 * draw(Draw::Jitter) - 1));
    if (d.most) value = std::min(value, *d.most);
    return std::max<Nanoseconds>(value, 0);
}

Nanoseconds Direction::departure(Nanoseconds now) {
    const Nanoseconds sent = impairments_.rate ? line_free_ : now;
    Nanoseconds due = sent + delay(now);
    if (impairments_.reorder && happens(Draw::Reorder, impairments_.reorder->probability)) {
        counters.add(Counter::reordered);
        return std::max(due, impairments_.keep_order ? last_due_ : 0) + impairments_.reorder->hold;
    }
    if (impairments_.keep_order) last_due_ = due = std::max(due, last_due_);
    return due;
}

std::uint64_t Direction::queued_bytes(Nanoseconds now) const {
    if (!impairments_.rate || line_free_ <= now) return 0;
    return static_cast<std::uint64_t>(static_cast<double>(line_free_ - now) *
                                      static_cast<double>(impairments_.rate->bits_per_second) / 8 /
                                      kNanosecondsPerSecond);
}

Decision Direction::decide(const Packet& packet, Nanoseconds now) {
    Decision decision;
    decision.due = {now, now};
    if (packet.kind == Packet::Kind::Upkeep) {
        counters.add(Counter::upkeep);
        if (impairments_.cut == Cut::All) decision.drop = Counter::drop_cut;
    } else {
        ++packet_;
        decision.drop = lost(packet);
    }
    if (!decision.drop && impairments_.mtu && packet.ip_bytes > impairments_.mtu->bytes) {
        const Mtu& mtu = *impairments_.mtu;
        if ((mtu.icmp && packet.may_fragment) || (mtu.ignore_df && packet.family == 4))
            decision.fragment = true;
        else
            decision.drop = Counter::drop_mtu;
    }
    if (!decision.drop && impairments_.rate && packet.kind != Packet::Kind::Upkeep) {
        if (queued_bytes(now) + packet.frame_bytes > impairments_.rate->queue_bytes)
            decision.drop = Counter::drop_queue;
        else
            line_free_ = std::max(line_free_, now) +
                         transmission_time(*impairments_.rate, packet.frame_bytes);
    }
    if (decision.drop) {
        counters.add(*decision.drop);
        return decision;
    }
    if (packet.kind == Packet::Kind::Upkeep) return decision;
    decision.due.fill(departure(now));
    if (happens(Draw::Duplicate, impairments_.duplicate)) {
        decision.copies = 2;
        counters.add(Counter::duplicated);
    }
    return decision;
}

}  // namespace dr::linkem
