// Maps a memfd after checking its size and seals.
#include "control/telemetry/memfd.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>

namespace dr::control {

const std::uint8_t* map_memfd(const FileDescriptor& fd, std::uint64_t bytes, std::size_t at_least,
                              const char* what) {
    // Reads the seals before the size: a sealed memfd keeps the size that is read afterwards.
    const int seals = fd.valid() ? ::fcntl(fd.get(), F_GET_SEALS) : 0;
    struct stat status {};
    if (!fd.valid() || ::fstat(fd.get(), &status) != 0)
        throw MemfdError(fmt::format("data plane: its {} came without a descriptor", what));
    if (seals < 0 || (seals & F_SEAL_SHRINK) == 0)
        throw MemfdError(
            fmt::format("data plane: its {} could shrink while they are read: the descriptor is no "
                        "memfd with F_SEAL_SHRINK; use programs of one build",
                        what));
    if (bytes < at_least || static_cast<std::uint64_t>(status.st_size) < bytes)
        throw MemfdError(fmt::format("data plane: {} of {} bytes, but {} are announced", what,
                                     status.st_size, bytes));
    void* at = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd.get(), 0);
    if (at == MAP_FAILED)
        throw MemfdError(
            fmt::format("data plane: cannot map its {}: {}", what, std::strerror(errno)));
    return static_cast<const std::uint8_t*>(at);
}

}  // namespace dr::control
