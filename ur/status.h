// `urd status`: the running urd answers every connection to its Unix socket with one JSON object
// and closes it; the command prints that as it is, or as a table.
#pragma once

#include <string>

#include "ur/router.h"

namespace dr::ur {

// A name that starts with @ is in the abstract namespace: it belongs to the network namespace, as
// urd's devices and rules do, and goes with the process. Any other is a file, for urd's user and
// group. Only root and urd's own user are answered.
inline constexpr const char* kDefaultSocket = "@urd";

// How the site gets its configuration; without credentials all of it is unset.
struct SignallingView {
    bool used = false;
    bool connected = false;
    std::string dr;  // address of the one in hand
    std::string detail;
    std::uint64_t generation = 0;  // in force; 0: none
    bool cached = false;           // it is the one from disk
    std::uint64_t declined = 0;    // generation that is not in force; 0: none
    std::string declined_why;
};

// The state of everything, as JSON. Times are in milliseconds.
std::string status_json(const Router& router, const SignallingView& signalling);

// What status_json() made, as text for people.
std::string status_table(const std::string& json);

class StatusServer final {
  public:
    // Replaces the socket of a run that was killed. Throws std::system_error, also when another
    // urd answers there.
    explicit StatusServer(std::string path);
    ~StatusServer();
    StatusServer(const StatusServer&) = delete;
    StatusServer& operator=(const StatusServer&) = delete;

    [[nodiscard]] int fd() const { return fd_; }
    // Answers one waiting connection. Never blocks.
    void answer(const std::string& text) const;

  private:
    std::string path_;
    int fd_{-1};
};

// What the urd behind this socket answers. Throws std::system_error.
std::string ask_status(const std::string& path);

}  // namespace dr::ur
