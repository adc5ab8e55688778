// The mirror against a real kernel, in a network namespace of its own: a veth pair of which one end
// is the port. Each test runs in a child process, so that the namespace ends with it.
#pragma once

#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>

#include "dataplane/ports/netlink_mirror.h"

namespace dr::test {

using namespace std::chrono_literals;

inline Capacity small() {
    return {.subscribers = 16,
            .tunnels = 16,
            .maps = 16,
            .next_hops = 64,
            .prefixes4 = 1024,
            .prefixes6 = 1024,
            .groups4 = 256,
            .groups6 = 1024};
}

struct Rig {
    explicit Rig(const std::string& interface, std::uint16_t mtu = 65'535, bool synced = true,
                 const Capacity& capacity = small()) {
        std::string error;
        tables = Tables::create(capacity, &error);
        rib = std::make_unique<Rib>(*tables);
        mirror = NetlinkMirror::create(
            *rib, {{3, interface, mtu}},
            {.link = [this](std::uint16_t, bool is_up) { up = is_up; }, .addresses_changed = {}},
            &error);
        if (synced) until([this] { return mirror->synced(); });
    }
    // Polls until it holds, at most 5 s.
    bool until(const std::function<bool()>& holds) const {
        const auto deadline = std::chrono::steady_clock::now() + 5s;
        while (!holds()) {
            if (std::chrono::steady_clock::now() > deadline) return false;
            mirror->poll();
            usleep(1000);
        }
        return true;
    }
    [[nodiscard]] Target lookup(const char* text) const {
        const IpAddress a = parse_address(text).value();
        return a.family == 4 ? tables->lpm4->lookup(a.bytes.data())
                             : tables->lpm6->lookup(a.bytes.data());
    }
    [[nodiscard]] bool is(const char* text, TargetKind kind) const {
        return lookup(text).kind() == kind;
    }
    bool becomes(const char* text, TargetKind kind) const {
        return until([&] { return is(text, kind); });
    }
    [[nodiscard]] const NextHopRow& next_hop(const char* text) const {
        return tables->next_hop(lookup(text).index());
    }

    std::unique_ptr<Tables> tables;
    std::unique_ptr<Rib> rib;
    std::unique_ptr<NetlinkMirror> mirror;
    bool up = false;
};

inline bool run(const char* commands) {
    return std::system(commands) == 0;
}

// In a child with a fresh namespace and the pair d0 (the port) - p0. The child's exit status is the
// number of the first check that failed.
inline int in_namespace(const std::function<int()>& test) {
    const pid_t child = fork();
    if (child == 0) {
        if (unshare(CLONE_NEWNET) != 0) _exit(200);
        const bool made = run(
            "set -e; ip link set lo up; ip link add d0 type veth peer name p0;"
            "ip link set d0 address 02:00:00:00:00:d0; ip link set p0 address 02:00:00:00:00:f0;"
            "ip addr add 192.0.2.1/24 dev d0; ip addr add 2001:db8:ff::1/64 dev d0 nodad;"
            "ip addr add 198.51.100.1/32 dev lo; ip link set d0 up; ip link set p0 up;"
            // The kernel tells of the carrier a little later, and then routes are of use.
            "timeout 5 sh -c 'until ip -o link show d0 | grep -q \"state UP\"; do sleep 0.01; "
            "done'");
        _exit(made ? test() : 201);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

inline bool may_unshare() {
    if (geteuid() == 0) return true;
    WARN("skipped: a network namespace needs root");
    return false;
}

using Kind = TargetKind;

}  // namespace dr::test
