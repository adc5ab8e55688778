#include "tests/linkem/link.h"

#include <algorithm>
#include <utility>

namespace dr::linkem {

Link::Link(std::uint64_t seed, FramePool& pool, Transmit transmit)
    : pool_(pool),
      transmit_(std::move(transmit)),
      directions_{Half{.decisions = Direction(seed, 0), .queue = {}},
                  Half{.decisions = Direction(seed, 1), .queue = {}}} {}

void Link::set_nats(std::vector<Nat> nats, Side inside) {
    nats_ = std::move(nats);
    nat_inside_ = inside;
}

bool Link::later(const Waiting& x, const Waiting& y) {
    return x.due != y.due ? x.due > y.due : x.order > y.order;
}

void Link::push(Side from, Nanoseconds due, FrameHandle frame) {
    auto& half = directions_[index(from)];
    half.queue.push_back({.due = due, .order = half.order++, .frame = std::move(frame)});
    std::push_heap(half.queue.begin(), half.queue.end(), later);
}

FrameHandle Link::copy(ConstBytes bytes, Counters& counters) {
    FrameHandle frame = pool_.take();
    if (!frame) {
        counters.add(Counter::drop_buffers);
        return frame;
    }
    std::copy(bytes.begin(), bytes.end(), frame->data.begin());
    frame->size = static_cast<std::uint16_t>(bytes.size());
    frame->offload = {};
    return frame;
}

void Link::answer_too_big(Side from, const Frame& frame, const Packet& packet) {
    auto& direction = this->from(from);
    const auto& mtu = *direction.impairments().mtu;
    if (!mtu.icmp) return;
    const auto answer = too_big({frame.data.data(), frame.size}, packet, mtu.bytes);
    if (!answer) return;
    auto back = copy(*answer, direction.counters);
    if (!back) return;
    direction.counters.add(Counter::icmp_sent);
    transmit_(from, std::move(back));
}

void Link::push_fragments(Side from, const Frame& frame, const Packet& packet, Nanoseconds due) {
    auto& direction = this->from(from);
    const auto parts =
        fragments({frame.data.data(), frame.size}, packet, direction.impairments().mtu->bytes);
    direction.counters.add(parts.empty() ? Counter::drop_mtu : Counter::fragmented);
    for (const auto& part : parts)
        if (auto one = copy(part, direction.counters)) push(from, due, std::move(one));
}

bool Link::translate(Side from, Frame& frame, bool outbound) {
    auto& counters = this->from(from).counters;
    const Packet packet = parse(frame.bytes());
    for (auto& nat : nats_) {
        const auto result =
            outbound ? nat.outbound(frame.bytes(), packet) : nat.inbound(frame.bytes(), packet);
        if (result == Nat::Result::Untouched) continue;
        if (result == Nat::Result::Unmapped) counters.add(Counter::drop_nat_unmapped);
        if (result == Nat::Result::Refused) counters.add(Counter::drop_nat_refused);
        if (result == Nat::Result::Translated) counters.add(Counter::translated);
        return result == Nat::Result::Translated;
    }
    return true;
}

void Link::input(Side from, FrameHandle frame, Nanoseconds now) {
    auto& direction = this->from(from);
    direction.counters.add(Counter::received);
    direction.counters.add(Counter::received_bytes, frame->size);
    const Packet packet = parse(frame->bytes());
    const Decision decision = direction.decide(packet, now);
    if (decision.drop) {
        if (*decision.drop == Counter::drop_mtu) answer_too_big(from, *frame, packet);
        return;
    }
    if (!nats_.empty() && from == nat_inside_ && !translate(from, *frame, true)) return;
    if (decision.copies == 2) {
        if (decision.fragment)
            push_fragments(from, *frame, packet, decision.due[1]);
        else if (auto second = copy(frame->bytes(), direction.counters))
            push(from, decision.due[1], std::move(second));
    }
    if (decision.fragment)
        push_fragments(from, *frame, packet, decision.due[0]);
    else
        push(from, decision.due[0], std::move(frame));
}

void Link::leave(Side from, FrameHandle frame) {
    if (!nats_.empty() && from != nat_inside_ && !translate(from, *frame, false)) return;
    auto& counters = this->from(from).counters;
    counters.add(Counter::sent);
    counters.add(Counter::sent_bytes, frame->size);
    transmit_(other(from), std::move(frame));
}

std::optional<Nanoseconds> Link::release(Nanoseconds now) {
    std::optional<Nanoseconds> next;
    for (const Side from : {Side::A, Side::B}) {
        auto& queue = directions_[index(from)].queue;
        while (!queue.empty() && queue.front().due <= now) {
            const Nanoseconds late = now - queue.front().due;
            ++lateness.released;
            lateness.greatest = std::max(lateness.greatest, late);
            if (late > 200'000) ++lateness.over_200us;
            std::pop_heap(queue.begin(), queue.end(), later);
            auto frame = std::move(queue.back().frame);
            queue.pop_back();
            leave(from, std::move(frame));
        }
        if (!queue.empty() && (!next || queue.front().due < *next)) next = queue.front().due;
    }
    return next;
}

}  // namespace dr::linkem
