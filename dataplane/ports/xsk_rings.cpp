// Finds an AF_XDP socket's rings in this process and reads them.
#include "dataplane/ports/xsk_rings.h"

#include <dirent.h>
#include <fmt/format.h>
#include <linux/if_xdp.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace dr {

namespace {

// The largest ring that is tried. The size of a ring is not reported; the kernel maps at most the
// ring.
constexpr std::uint32_t kMostEntries = 1U << 16;
// In unaligned mode a descriptor's upper bits say where in the buffer the packet begins.
constexpr std::uint64_t kBufferMask = (std::uint64_t{1} << XSK_UNALIGNED_BUF_OFFSET_SHIFT) - 1;

std::uint32_t load(const void* base, std::uint64_t at) {
    return __atomic_load_n(
        reinterpret_cast<const std::uint32_t*>(static_cast<const std::uint8_t*>(base) + at),
        __ATOMIC_ACQUIRE);
}

}  // namespace

std::vector<int> xdp_sockets() {
    std::vector<int> found;
    DIR* directory = opendir("/proc/self/fd");
    if (directory == nullptr) return found;
    while (const dirent* entry = readdir(directory)) {
        const int fd = std::atoi(entry->d_name);
        int domain = 0;
        socklen_t length = sizeof domain;
        if (fd > 0 && getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 &&
            domain == AF_XDP)
            found.push_back(fd);
    }
    closedir(directory);
    std::sort(found.begin(), found.end());
    return found;
}

bool XskRings::map_ring(Which which, std::uint64_t page_offset, std::size_t entry) {
    Mapped& m = mapped_[which];
    for (std::uint32_t entries = kMostEntries; entries >= 2; entries /= 2) {
        const std::size_t bytes = m.entries_at + entries * entry;
        void* base =
            mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd_, static_cast<off_t>(page_offset));
        if (base == MAP_FAILED) continue;
        m.base = base;
        m.bytes = bytes;
        m.entries = entries;
        return true;
    }
    return false;
}

std::unique_ptr<XskRings> XskRings::map(int fd, std::string* error) {
    std::unique_ptr<XskRings> self(new XskRings(fd));
    xdp_mmap_offsets at{};
    socklen_t length = sizeof at;
    bool good = getsockopt(fd, SOL_XDP, XDP_MMAP_OFFSETS, &at, &length) == 0 && length == sizeof at;
    const auto ring = [&](Which which, const xdp_ring_offset& offsets, std::uint64_t page,
                          std::size_t entry) {
        Mapped& m = self->mapped_[which];
        m.producer = offsets.producer;
        m.consumer = offsets.consumer;
        m.entries_at = offsets.desc;
        good = good && self->map_ring(which, page, entry);
    };
    ring(kFill, at.fr, XDP_UMEM_PGOFF_FILL_RING, sizeof(std::uint64_t));
    ring(kRx, at.rx, XDP_PGOFF_RX_RING, sizeof(xdp_desc));
    ring(kTx, at.tx, XDP_PGOFF_TX_RING, sizeof(xdp_desc));
    ring(kCompletion, at.cr, XDP_UMEM_PGOFF_COMPLETION_RING, sizeof(std::uint64_t));
    if (good) return self;
    *error = fmt::format("the rings of its socket cannot be read: {}", std::strerror(errno));
    return nullptr;
}

XskRings::~XskRings() {
    for (const Mapped& m : mapped_)
        if (m.base != nullptr) munmap(m.base, m.bytes);
}

// The consumer's position first: it never overtakes, so a ring never looks fuller than it can be.
XskRings::Ring XskRings::ring(Which which) const {
    const Mapped& m = mapped_[which];
    Ring ring;
    ring.consumed = load(m.base, m.consumer);
    ring.produced = load(m.base, m.producer);
    return ring;
}

XskRings::Sample XskRings::sample() const {
    Sample sample;
    sample.fill = ring(kFill);
    sample.rx = ring(kRx);
    sample.tx = ring(kTx);
    sample.completion = ring(kCompletion);
    return sample;
}

void XskRings::add_statistics(Sample* sample) const {
    xdp_statistics statistics{};
    socklen_t length = sizeof statistics;
    if (getsockopt(fd_, SOL_XDP, XDP_STATISTICS, &statistics, &length) != 0) return;
    sample->dropped = statistics.rx_dropped + statistics.rx_ring_full;
    sample->found_fill_empty = statistics.rx_fill_ring_empty_descs;
    sample->invalid = statistics.rx_invalid_descs;
}

bool XskRings::zero_copy() const {
    xdp_options options{};
    socklen_t length = sizeof options;
    return getsockopt(fd_, SOL_XDP, XDP_OPTIONS, &options, &length) == 0 &&
           (options.flags & XDP_OPTIONS_ZEROCOPY) != 0;
}

void XskRings::kick() const {
    (void)send(fd_, nullptr, 0, MSG_DONTWAIT);
}

// The last `count` entries.
void XskRings::collect(Which which, std::uint32_t count, Held* held) const {
    const Mapped& m = mapped_[which];
    const auto* entries = static_cast<const std::uint8_t*>(m.base) + m.entries_at;
    // A descriptor begins with its address, too.
    const std::size_t size =
        which == kRx || which == kTx ? sizeof(xdp_desc) : sizeof(std::uint64_t);
    const std::uint32_t produced = ring(which).produced;
    for (std::uint32_t at = produced - count; at != produced; ++at) {
        std::uint64_t address = 0;
        std::memcpy(&address, entries + (at & (m.entries - 1)) * size, sizeof address);
        held->offsets.push_back(address & kBufferMask);
    }
}

XskRings::Held XskRings::held() const {
    Held held;
    Sample s = sample();
    add_statistics(&s);
    const std::uint32_t to_receive = s.fill.produced - s.rx.consumed;
    const std::uint32_t to_send = s.tx.produced - s.completion.consumed;
    held.handed_over = to_receive + to_send;
    // Each buffer taken out of the fill ring was delivered or refused.
    const auto gone = s.rx.waiting() + static_cast<std::uint32_t>(s.invalid);
    const std::uint32_t filled = to_receive - gone;
    if (!zero_copy() && gone <= to_receive && filled <= s.fill.waiting() &&
        filled <= mapped_[kFill].entries)
        collect(kFill, filled, &held);
    for (const auto& [which, waiting] :
         {std::pair{kRx, s.rx.waiting()}, std::pair{kTx, s.tx.waiting()},
          std::pair{kCompletion, s.completion.waiting()}})
        if (waiting <= mapped_[which].entries) collect(which, waiting, &held);
    return held;
}

}  // namespace dr
