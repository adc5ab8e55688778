// A way to a DR over one of the site's lines, whatever the kernel's main route says: gRPC cannot
// bind a connection to a device, so it connects to a Unix socket here, and what passes through that
// goes over a TCP connection that is bound. TLS is between gRPC and the DR; here are bytes only.
//
// One connection, of this process only. A thread of its own carries it, and ends when either end
// closes, when nobody has come for it by the time the relay is gone, or when the DR has not been
// reached in kReach.
#pragma once

#include <chrono>
#include <memory>
#include <string>

namespace dr::ur {

class LineRelay final {
  public:
    static constexpr std::chrono::milliseconds kReach{3'000};

    // To `address`, "HOST:PORT" or "[IPV6]:PORT", out of `device`. Nothing is connected before
    // somebody connects to target(). Throws std::system_error when there is no socket to be had.
    LineRelay(std::string device, const std::string& address);
    LineRelay(const LineRelay&) = delete;
    LineRelay& operator=(const LineRelay&) = delete;
    ~LineRelay();

    // For gRPC to connect to.
    [[nodiscard]] std::string target() const;
    // Why the DR was not reached; empty while that is not known, or when it was. Any thread.
    [[nodiscard]] std::string fault() const;
    // The DR's address, "192.0.2.1:4755", once it was reached. Any thread.
    [[nodiscard]] std::string peer() const;

  private:
    struct State;
    std::shared_ptr<State> state_;  // the thread's as well
};

}  // namespace dr::ur
