// Having a device leave VLAN tags in frames: against a real kernel, each test in a child process
// with a network namespace of its own, in which d0 is one end of a veth pair.
#include "dataplane/ports/rx_vlan.h"

#include <linux/capability.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <functional>

namespace {

bool run(const char* commands) {
    return std::system(commands) == 0;
}

// The child's exit status: the number of the first check that failed.
int in_namespace(const std::function<int()>& test) {
    const pid_t child = fork();
    if (child == 0) {
        if (unshare(CLONE_NEWNET) != 0) _exit(200);
        _exit(run("ip link add d0 type veth peer name p0") ? test() : 201);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

bool may_unshare() {
    if (geteuid() == 0) return true;
    WARN("skipped: a network namespace needs root");
    return false;
}

bool both(const char* state) {
    const std::string features = "ethtool -k d0 | grep -q ";
    return run((features + "'^rx-vlan-offload: " + state + "'").c_str()) &&
           run((features + "'^rx-vlan-stag-hw-parse: " + state + "'").c_str());
}

bool give_up_capabilities() {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    std::array<__user_cap_data_struct, 2> none{};
    return syscall(SYS_capset, &header, none.data()) == 0;
}

}  // namespace

TEST_CASE("a device that takes VLAN tags out of frames is told to leave them in") {
    if (!may_unshare()) return;
    CHECK(in_namespace([] {
              std::string error;
              if (!both("on")) return 1;
              if (!dr::leave_vlan_tags_in("d0", &error) || !error.empty()) return 2;
              if (!both("off")) return 3;
              if (!dr::leave_vlan_tags_in("d0", &error)) return 4;  // again: nothing to do
              if (!run("ethtool -K d0 rx-vlan-stag-hw-parse on")) return 5;
              if (!dr::leave_vlan_tags_in("d0", &error)) return 6;
              if (!both("off")) return 7;
              // One that never does.
              return dr::leave_vlan_tags_in("lo", &error) ? 0 : 8;
          }) == 0);
}

TEST_CASE("a device that cannot be told is refused, with what to do") {
    if (!may_unshare()) return;
    CHECK(in_namespace([] {
              std::string error;
              if (dr::leave_vlan_tags_in("none0", &error)) return 1;
              if (error.find("none0") == std::string::npos) return 2;
              if (error.find("No such device") == std::string::npos) return 3;
              if (!give_up_capabilities()) return 4;
              if (dr::leave_vlan_tags_in("d0", &error)) return 5;
              if (error.find("Operation not permitted") == std::string::npos) return 6;
              if (error.find("\"vlan_stripping\": true") == std::string::npos) return 7;
              return both("on") ? 0 : 8;
          }) == 0);
}

TEST_CASE("a veth is told from other devices") {
    if (!may_unshare()) return;
    CHECK(in_namespace([] {
              return dr::is_veth("d0") && !dr::is_veth("lo") && !dr::is_veth("x") ? 0 : 1;
          }) == 0);
}
