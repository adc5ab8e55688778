// Makes, maps and seals memfds.
#include "dataplane/server/shared_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>

namespace dr::southbound {

namespace {

std::string failure(const char* name, const char* what) {
    return std::string(what) + " the memfd " + name + ": " + std::strerror(errno);
}

}  // namespace

SharedMemory::~SharedMemory() {
    if (base_ != nullptr) munmap(base_, bytes_);
    if (fd_ >= 0) close(fd_);
}

bool SharedMemory::make(const char* name, std::size_t bytes, unsigned flags, std::string* error) {
    const int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | flags);
    // Huge pages are reserved as a whole by mmap, so that a shortage shows here.
    void* base = fd >= 0 && ftruncate(fd, static_cast<off_t>(bytes)) == 0
                     ? mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
                     : MAP_FAILED;
    if (base == MAP_FAILED) {
        *error = failure(name, "making and mapping");
        if (fd >= 0) close(fd);
        return false;
    }
    fd_ = fd;
    base_ = base;
    bytes_ = bytes;
    name_ = name;
    return true;
}

bool SharedMemory::seal(std::string* error) const {
    if (fcntl(fd_, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) ==
        0)
        return true;
    *error = failure(name_, "sealing");
    return false;
}

void SharedMemory::report(const char* name, State* state) const {
    struct stat file {};
    if (state->memories >= kMaxMemories || fstat(fd_, &file) != 0) return;
    Memory& memory = state->memory[state->memories++];
    memory = {};
    std::string_view(name).copy(memory.name.data(), memory.name.size() - 1);
    memory.bytes = static_cast<std::uint64_t>(file.st_blocks) * 512;
    memory.capacity_bytes = bytes_;
}

}  // namespace dr::southbound
