// Which attachment worked last, and when one that has not is gone back from (client.h says how).
// Beside the file of the attachment in force it keeps two: FILE.good is the one that worked last,
// FILE.aside the one that was gone back from.
//
// One thread. It reads no clock: the caller says what time it is.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "dr/v1/signalling.pb.h"
#include "ur/signalling/cache.h"

namespace dr::ur {

class WayBack {
  public:
    using Time = std::chrono::steady_clock::time_point;
    using Duration = std::chrono::milliseconds;
    static constexpr int kLongest = 16;  // of the waits, in units of the first

    // `path` empty: nothing is kept on disk.
    WayBack(const std::string& path, Duration after);

    // What to begin with, of what is on disk; `why` says what cannot be read. One from before there
    // was a FILE.good counts as one that worked.
    std::optional<v1::Attachment> start(AttachmentCache& current, const std::string& subscriber,
                                        Time now, std::string& why);
    // A DR's attachment is in force.
    void applied(const v1::Attachment& attachment, Time now);
    // A DR has answered on a stream that began at `since`. Empty, or what cannot be kept on disk;
    // that is tried again with the next call.
    std::string answered(Time since);
    // A stream stands since `since` at the latest. As answered().
    std::string stands(Time since);

    // When to put other() in force; never: Time::max().
    [[nodiscard]] Time due() const;
    // When a stream that stands will have stood long enough; never, when it has worked.
    [[nodiscard]] Time proof_due(Duration proven_after) const;
    // Without a subscriber: nothing at all.
    [[nodiscard]] v1::Attachment other() const;
    // other() is in force. Empty, or what cannot be kept on disk.
    std::string gone_back(AttachmentCache& current, Time now);
    // other() cannot be in force now.
    void stay(Time now);

    // Empty: it may be applied. Otherwise it was gone back from: why not.
    [[nodiscard]] std::string declines(const v1::Attachment& attachment) const;
    // What the DR is told of the one that was gone back from.
    [[nodiscard]] std::optional<v1::Declined> aside() const;

  private:
    std::string worked();
    [[nodiscard]] std::string words() const;

    const Duration after_;
    AttachmentCache good_file_;
    AttachmentCache aside_file_;
    std::optional<v1::Attachment> current_;
    std::optional<v1::Attachment> good_;
    std::optional<v1::Attachment> aside_;
    bool proven_ = true;
    bool unsaved_ = false;  // good_ is not in its file
    Time applied_at_;
    Time due_ = Time::max();
    Duration patience_;
};

}  // namespace dr::ur
