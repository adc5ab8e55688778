// The last attachment on disk: what a UR goes on with after its own restart. The file is the
// SHA-256 of the serialized attachment (32 bytes), then that itself.
#pragma once

#include <optional>
#include <string>

#include "dr/v1/signalling.pb.h"

namespace dr::ur {

class AttachmentCache {
  public:
    // `path` empty: keeps nothing.
    explicit AttachmentCache(std::string path) : path_(std::move(path)) {}

    // Nothing when there is none. Nothing either when it is broken, down to a bit, or another
    // subscriber's; then `why` says so.
    std::optional<v1::Attachment> load(const std::string& subscriber, std::string& why);
    // Whole or not at all, mode 0600; not written again when nothing has changed. Empty: done;
    // otherwise why not.
    std::string save(const v1::Attachment& attachment);
    // Nothing is kept any more.
    void remove();

  private:
    std::string path_;
    std::string written_;
};

}  // namespace dr::ur
