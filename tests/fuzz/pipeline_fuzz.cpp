// Arbitrary frames through the whole forwarding pipeline: each leaves through exactly one exit, no
// buffer is lost, and what was sent is a whole frame.
//
// Input: frames one after the other, each a byte of port and shape, two bytes of length (little
// endian), then the bytes. Shapes: a raw frame; or the body of a sound frame of the network or of a
// tunnel, so that the fuzzer need not guess addresses and checksums.
#include <cstdint>
#include <cstdlib>
#include <span>

#include "tests/support/pipeline.h"

using namespace dr;
using namespace dr::test;

namespace {

Bytes shape(unsigned kind, std::span<const std::uint8_t> data) {
    const unsigned family = (kind & 8U) != 0 ? 6 : 4;
    const unsigned n = 1 + (kind >> 4 & 3U);
    switch (kind >> 1 & 3U) {
        case 0:
            return {data.begin(), data.end()};
        case 1: {  // from the network, for a subscriber
            Bytes packet = udp_packet(outside_address(family), site_address(n, family), 0);
            packet.insert(packet.end(), data.begin(), data.end());
            return ethernet_frame(0, packet);
        }
        case 2: {  // out of a tunnel, arbitrary inner packet
            return tunnel_frame(n, kind >> 6 & 3U, data);
        }
        default: {  // out of a tunnel, sound inner packet
            const Bytes inner =
                udp_packet(site_address(n, family), outside_address(family), data.size() % 1600);
            return tunnel_frame(n, kind >> 6 & 3U, inner);
        }
    }
}

void require(bool holds) {
    if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
    require(start_eal());
    return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static auto* pipeline = new Pipeline;
    const std::uint64_t before = pipeline->exits();
    std::uint64_t sent = 0;
    std::span<const std::uint8_t> input(data, size);
    while (input.size() >= 3 && sent < 64) {
        const unsigned kind = input[0];
        std::size_t length = static_cast<std::size_t>(input[1] | input[2] << 8) % 1900;
        input = input.subspan(3);
        if (length > input.size()) length = input.size();
        const Bytes frame = shape(kind, input.first(length));
        input = input.subspan(length);
        if (frame.size() < 2000) sent += pipeline->send(kind & 1U, frame) ? 1U : 0U;
    }
    pipeline->run();
    require(pipeline->exits() - before == sent);
    require(pipeline->unnoted().empty());
    for (unsigned port = 0; port < 2; ++port) {
        for (const Bytes& frame : pipeline->out(port)) require(frame.size() > 14 + 20);
        pipeline->out(port).clear();
    }
    require(pipeline->missing_buffers() == 0);
    return 0;
}
