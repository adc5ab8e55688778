// Keeps the data plane's packets from the kernel while an interface has no steering program: from
// detaching a killed run's program until the new one is attached and knows the pools. The driver
// attaches its program only to an interface without one, and with empty maps. In between the kernel
// would route packets for the pools back to their origin.
//
// A tc filter (clsact, ingress) with the same rules as the steering program, which only drops.
//
// Thread: main.
#pragma once

#include <memory>
#include <optional>
#include <string>

struct bpf_object;

namespace dr {

class TakeoverGuard final {
  public:
    // Loaded, with empty maps, dropping nothing yet.
    static std::optional<TakeoverGuard> load(const std::string& interface, std::string* error);
    // For XdpMaps::of_program().
    [[nodiscard]] int program_fd() const;
    [[nodiscard]] int ifindex() const { return ifindex_; }
    // From here on it drops. false and a reason: the kernel refused.
    bool attach(std::string* error);
    // A guard that a run killed in the middle of its start left on the interface.
    static void remove_stale(const std::string& interface);

    // Detaches it, and removes the clsact qdisc if this guard made it.
    ~TakeoverGuard();
    TakeoverGuard(TakeoverGuard&&) noexcept;
    TakeoverGuard& operator=(TakeoverGuard&&) = delete;

  private:
    TakeoverGuard() = default;
    struct Close {
        void operator()(bpf_object* object) const;
    };

    int ifindex_ = 0;
    bool attached_ = false;
    bool made_qdisc_ = false;
    std::unique_ptr<bpf_object, Close> object_;
};

}  // namespace dr
