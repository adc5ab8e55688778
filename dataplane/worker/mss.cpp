// The MSS option of TCP handshakes, clamped to the tunnel (RFC 6691).
#include "dataplane/worker/mss.h"

#include "dataplane/wire/checksum.h"

namespace dr {

void clamp_mss(std::uint8_t* tcp, unsigned length, std::uint16_t limit) {
    const unsigned header = (tcp[12] >> 4) * 4U;
    if (header < 20 || header > length) return;
    unsigned at = 20;
    while (at < header) {
        const std::uint8_t kind = tcp[at];
        if (kind == 0) return;
        if (kind == 1) {
            ++at;
            continue;
        }
        if (at + 2 > header || tcp[at + 1] < 2 || at + tcp[at + 1] > header) return;
        if (kind == 2 && tcp[at + 1] == 4) {
            const auto mss = static_cast<std::uint16_t>(tcp[at + 2] << 8 | tcp[at + 3]);
            if (mss <= limit) return;
            Be16 sum;
            std::memcpy(&sum, tcp + 16, 2);
            Be16 before = Be16::from(mss);
            Be16 after = Be16::from(limit);
            // At an odd offset the option's bytes lie across two checksum words.
            if ((at & 1U) != 0) {
                before.raw = __builtin_bswap16(before.raw);
                after.raw = __builtin_bswap16(after.raw);
            }
            sum = wire::checksum_update(sum, before, after);
            tcp[at + 2] = static_cast<std::uint8_t>(limit >> 8);
            tcp[at + 3] = static_cast<std::uint8_t>(limit);
            std::memcpy(tcp + 16, &sum, 2);
            return;
        }
        at += tcp[at + 1];
    }
}

}  // namespace dr
