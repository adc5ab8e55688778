// Puts the server's answers and the refusals of this end into the order of the input, and writes
// them: refusals and warnings on standard error, or one JSON object each on standard output.
#pragma once

#include <cstdint>
#include <cstdio>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "dr/v1/api.pb.h"

namespace dr::cli {

struct ApplyCounts {
    std::uint64_t created = 0;
    std::uint64_t updated = 0;
    std::uint64_t unchanged = 0;
    std::uint64_t refused = 0;
    std::uint64_t unanswered = 0;
    [[nodiscard]] std::uint64_t total() const {
        return created + updated + unchanged + refused + unanswered;
    }
};

// Every function may be called from the sending and from the receiving thread.
class ApplyReport {
  public:
    struct Options {
        std::FILE* out = nullptr;
        std::FILE* err = nullptr;
        bool json = false;
        // Called before a line goes to `err`, to take a progress bar off the screen.
        std::function<void()> before_error;
    };
    struct Place {
        std::uint64_t number = 0;  // the ordinal: 1 for the first object
        std::uint64_t line = 0;
        bool in_array = false;
    };

    explicit ApplyReport(Options options) : options_(std::move(options)) {}

    // In input order, each object once: either it was sent, or it was refused here. `name` is
    // kept for conclude(); leave it empty where that is not needed.
    void sent(const Place& place, std::string name);
    void refused_here(const Place& place, const std::string& name,
                      const dr::v1::FieldViolation& violation);
    // False when no object of that ordinal waits for an answer.
    bool answered(const dr::v1::ApplyResult& result);
    // Every object without an answer is refused with this description of its field "resource", or,
    // with none, counted as unanswered.
    void conclude(const std::string& description);

    [[nodiscard]] ApplyCounts counts() const;

  private:
    struct Entry {
        Place place;
        std::string name;
        std::optional<dr::v1::ApplyResult> result;
    };
    void drain();
    void write(const Entry& entry);
    void write_refusal(const Entry& entry);
    void write_line_of(const Entry& entry, const char* kind, const dr::v1::FieldViolation& what);

    Options options_;
    mutable std::mutex mutex_;
    std::deque<Entry> entries_;
    ApplyCounts counts_;
};

}  // namespace dr::cli
