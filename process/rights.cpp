// Drops capabilities and core dumps.
#include "process/rights.h"

#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>

#include "process/all_threads.h"

namespace dr::process {
namespace {

struct Free {
    void operator()(cap_t set) const { cap_free(set); }
};
using Capabilities = std::unique_ptr<_cap_struct, Free>;

bool core_dumps_allowed = false;

bool fail(std::string* error, const char* what) {
    *error = std::string(what) + ": " + std::strerror(errno);
    return false;
}

bool limit_core_dumps(std::string* error) {
    const rlimit none{0, 0};
    if (!core_dumps_allowed && setrlimit(RLIMIT_CORE, &none) != 0)
        return fail(error, "forbidding core dumps (RLIMIT_CORE)");
    if (prctl(PR_SET_DUMPABLE, core_dumps_allowed ? 1 : 0, 0, 0, 0) != 0)
        return fail(error, "forbidding core dumps (PR_SET_DUMPABLE)");
    return true;
}

bool has(cap_value_t capability, cap_flag_t flag) {
    const Capabilities present(cap_get_proc());
    cap_flag_value_t value = CAP_CLEAR;
    return present && cap_get_flag(present.get(), capability, flag, &value) == 0 &&
           value == CAP_SET;
}

bool empty_bounding_set(std::string* error) {
    // A process without CAP_SETPCAP cannot; for users other than root no_new_privs has the same
    // effect.
    if (!has(CAP_SETPCAP, CAP_EFFECTIVE)) return true;
    for (cap_value_t c = 0; cap_get_bound(c) >= 0; ++c)
        if (cap_get_bound(c) == 1 && cap_drop_bound(c) != 0)
            return fail(error, "emptying the bounding set");
    return true;
}

// libcap's cap_set_proc() changes only the calling thread.
bool set_in_all_threads(cap_t wanted, std::string* error) {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> data{};
    for (cap_value_t c = 0; c < cap_max_bits(); ++c) {
        cap_flag_value_t value = CAP_CLEAR;
        if (cap_get_flag(wanted, c, CAP_PERMITTED, &value) != 0 || value != CAP_SET) continue;
        const auto bit = static_cast<unsigned>(c);
        data[CAP_TO_INDEX(bit)].permitted |= CAP_TO_MASK(bit);
        data[CAP_TO_INDEX(bit)].effective |= CAP_TO_MASK(bit);
    }
    if (call_in_all_threads(SYS_capset, reinterpret_cast<long>(&header),
                            reinterpret_cast<long>(data.data()), 0, 0, 0, 0) != 0)
        return fail(error, "dropping capabilities");
    return true;
}

// Reads the result back instead of trusting the calls.
bool verify(cap_t wanted, std::string* error) {
    const auto all = threads();
    if (all.empty()) return fail(error, "/proc/self/task");
    for (const pid_t thread : all) {
        const Capabilities found(cap_get_pid(thread));
        if (!found && errno == ESRCH) continue;  // it has ended
        if (found && cap_compare(found.get(), wanted) == 0) continue;
        *error = "thread " + std::to_string(thread) + " still has other capabilities than it needs";
        return false;
    }
    return true;
}

}  // namespace

bool limit_at_start(bool allow_core_dumps, std::string* error) {
    core_dumps_allowed = allow_core_dumps;
    if (!limit_core_dumps(error)) return false;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return fail(error, "PR_SET_NO_NEW_PRIVS");
    if (!empty_bounding_set(error)) return false;
    if (cap_reset_ambient() != 0) return fail(error, "emptying the ambient set");
    const Capabilities own(cap_get_proc());
    if (!own || cap_clear_flag(own.get(), CAP_INHERITABLE) != 0 || cap_set_proc(own.get()) != 0)
        return fail(error, "emptying the inheritable set");
    return true;
}

bool keep_capabilities(std::initializer_list<int> kept, std::string* error) {
    const Capabilities wanted(cap_init());
    if (!wanted) return fail(error, "cap_init");
    for (const cap_value_t c : kept)
        if (has(c, CAP_PERMITTED))
            for (const cap_flag_t flag : {CAP_PERMITTED, CAP_EFFECTIVE})
                if (cap_set_flag(wanted.get(), flag, 1, &c, CAP_SET) != 0)
                    return fail(error, "cap_set_flag");
    return set_in_all_threads(wanted.get(), error) && verify(wanted.get(), error) &&
           limit_core_dumps(error);
}

}  // namespace dr::process
