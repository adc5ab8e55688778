// `urd status`: the running urd answers every connection to its Unix socket with one JSON object
// and closes it; the command prints that as it is, or as a table.
#pragma once

#include <string>

#include "ur/config.h"
#include "ur/datapath.h"

namespace dr::ur {

// A name that starts with @ is in the abstract namespace: it belongs to the network namespace, as
// urd's devices and rules do, and goes with the process. Any other is a file, for urd's user and
// group. Only root and urd's own user are answered.
inline constexpr const char* kDefaultSocket = "@urd";

// The state of everything, as JSON.
std::string status_json(const Config& config, const Datapath& datapath, const std::string& device);

// JSON of status_json() as text for people.
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
