// A site that gets its configuration by signalling: what arrives is translated and put in force,
// and the DR is told of the site's lines. One thread, the main one.
#pragma once

#include <optional>

#include "ur/attacher.h"
#include "ur/attachment.h"
#include "ur/options.h"
#include "ur/router.h"

namespace dr::ur {

class SiteSignalling final {
  public:
    // Throws ConfigError for lines that cannot be, std::runtime_error for bad credentials,
    // std::system_error for a state folder that cannot be made. `router` outlives it.
    SiteSignalling(v1::Credentials credentials, const Options& options, Router& router);

    // With the attachment from disk if there is one, and the DR's as soon as it answers.
    void start();
    // Attaches with these from now on; what is in force stays. Throws std::runtime_error, and goes
    // on with those before, when they are bad or another subscriber's.
    void renew(v1::Credentials credentials);
    [[nodiscard]] int fd() const { return attacher_.fd(); }
    void take() { attacher_.take(); }
    // Tells the DR of the lines when they have changed.
    void tell_lines();
    [[nodiscard]] SignallingView view() const;

  private:
    std::string apply(const v1::Attachment& attachment, Source source);
    void put_in_force(const v1::Attachment& attachment, Source source);
    void restore();
    // Empty: it may take the place of what is in force. Otherwise which traffic that would end.
    [[nodiscard]] std::string keeps_tunnels(const v1::Attachment& attachment) const;
    [[nodiscard]] std::vector<IpAddress> signalling_of(const v1::Attachment& attachment) const;

    std::map<std::string, std::string> devices_;
    std::map<std::string, LineFamilies> families_;  // by line
    Translator translator_;
    Router& router_;
    std::string subscriber_;
    std::vector<IpAddress> drs_;  // of the credentials
    // In force; what a change that the kernel refuses halfway goes back to.
    std::optional<v1::Attachment> in_force_;
    Attacher attacher_;
};

}  // namespace dr::ur
