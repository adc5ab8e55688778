// Sets the NUMA policy of mapped memory.
#include "dataplane/tables/placement.h"

#include <linux/mempolicy.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bit>

namespace dr {

bool place(const void* data, std::size_t bytes, std::uint64_t nodes) noexcept {
    if (nodes == 0 || data == nullptr) return true;
    const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
    const std::uintptr_t first = (reinterpret_cast<std::uintptr_t>(data) + page - 1) & ~(page - 1);
    const std::uintptr_t end = (reinterpret_cast<std::uintptr_t>(data) + bytes) & ~(page - 1);
    if (end <= first) return true;
    // Preferred, not bound: with huge pages a bound node that is full would be a SIGBUS.
    const int mode = std::has_single_bit(nodes) ? MPOL_PREFERRED : MPOL_INTERLEAVE;
    const unsigned long mask = nodes;
    // The kernel takes the number of bits and one more.
    return syscall(SYS_mbind, first, end - first, mode, &mask, 8 * sizeof mask + 1, 0) == 0;
}

}  // namespace dr
