// One system call, made by every thread of this process.
//
// Linux keeps capabilities and no_new_privs for each thread. libpsx sees only threads that were
// made through its own wrapper of pthread_create(), and in Debian 12 those of shared libraries
// (DPDK, gRPC) are not. So each thread in /proc/self/task is sent SIGURG, and its handler makes the
// call.
#pragma once

#include <sys/types.h>

#include <vector>

namespace dr::process {

// The threads of this process, the caller's among them; empty when /proc cannot be read.
[[nodiscard]] std::vector<pid_t> threads();

// Makes the call in every thread, also in threads that begin meanwhile. Returns 0 when all have
// made it without an error, otherwise -1 and errno: the first error of any thread, ETIMEDOUT if a
// thread has not answered within 5 s, or the error of reading /proc. A wait in another thread may
// end with EINTR. One caller at a time. The handler of SIGURG must not be changed meanwhile.
long call_in_all_threads(long number, long a, long b, long c, long d, long e, long f);

}  // namespace dr::process
