// Runs one system call on every thread of the process, by a signal.
#include "process/all_threads.h"

#include <dirent.h>
#include <semaphore.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <ctime>

namespace dr::process {
namespace {

// SIGURG is ignored by default, so a late signal is harmless; and this product uses no urgent data.
constexpr int kSignal = SIGURG;
constexpr long kLookAgainNs = 20'000'000;  // whether the thread still is
constexpr int kLooks = 250;                // 5 s

struct Call {
    long number = 0;
    std::array<long, 6> arguments{};
    std::atomic<int> error{0};
    sem_t done{};
};

Call call;  // a signal handler has no argument of ours

int make_call() {
    const auto& a = call.arguments;
    return ::syscall(call.number, a[0], a[1], a[2], a[3], a[4], a[5]) < 0 ? errno : 0;
}

void handle(int) {
    const int before = errno;
    call.error.store(make_call(), std::memory_order_release);
    ::sem_post(&call.done);
    errno = before;
}

bool is_gone(pid_t thread) {
    return ::syscall(SYS_tgkill, ::getpid(), thread, 0) != 0 && errno == ESRCH;
}

// Makes another thread execute the call; 0, or an error.
int have_call_made(pid_t thread) {
    if (::syscall(SYS_tgkill, ::getpid(), thread, kSignal) != 0) return errno == ESRCH ? 0 : errno;
    for (int look = 0; look < kLooks; ++look) {
        timespec until{};
        ::clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += kLookAgainNs;
        if (until.tv_nsec >= 1'000'000'000) {
            until.tv_nsec -= 1'000'000'000;
            ++until.tv_sec;
        }
        if (::sem_clockwait(&call.done, CLOCK_MONOTONIC, &until) == 0)
            return call.error.load(std::memory_order_acquire);
        if (is_gone(thread)) return 0;
    }
    return ETIMEDOUT;
}

// A thread inherits the state of the thread that created it. So this repeats until all existing
// threads have made the call.
int make_everywhere() {
    const auto self = static_cast<pid_t>(::syscall(SYS_gettid));
    std::vector<pid_t> done{self};
    if (const int error = make_call(); error != 0) return error;
    for (bool more = true; more;) {
        more = false;
        const std::vector<pid_t> all = threads();
        if (all.empty()) return errno == 0 ? ENOENT : errno;
        for (const pid_t thread : all) {
            if (std::find(done.begin(), done.end(), thread) != done.end()) continue;
            if (const int error = have_call_made(thread); error != 0) return error;
            done.push_back(thread);
            more = true;
        }
    }
    return 0;
}

}  // namespace

std::vector<pid_t> threads() {
    std::vector<pid_t> found;
    DIR* directory = ::opendir("/proc/self/task");
    if (directory == nullptr) return found;
    while (const dirent* entry = ::readdir(directory))
        if (const long thread = std::strtol(entry->d_name, nullptr, 10); thread > 0)
            found.push_back(static_cast<pid_t>(thread));
    ::closedir(directory);
    return found;
}

long call_in_all_threads(long number, long a, long b, long c, long d, long e, long f) {
    struct sigaction ours {};
    struct sigaction before {};
    ours.sa_handler = handle;
    ours.sa_flags = SA_RESTART;
    call.number = number;
    call.arguments = {a, b, c, d, e, f};
    if (::sem_init(&call.done, 0, 0) != 0 || ::sigaction(kSignal, &ours, &before) != 0) return -1;
    const int error = make_everywhere();
    ::sigaction(kSignal, &before, nullptr);
    // After a timeout a thread may yet post: then the semaphore stays.
    if (error != ETIMEDOUT) ::sem_destroy(&call.done);
    errno = error;
    return error == 0 ? 0 : -1;
}

}  // namespace dr::process
