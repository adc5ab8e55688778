// Reads what a configuration file and an attachment have in common: prefixes, policy, tunnels. Both
// are protobuf by then, so each field has one reader, one bound and one message.
//
// Counts are looked at before what is counted, so that no message of a hostile DR costs more than
// its bytes. Any thread; no I/O.
#pragma once

#include <google/protobuf/repeated_ptr_field.h>

#include <string>
#include <vector>

#include "dr/v1/signalling.pb.h"
#include "ur/config.h"

namespace dr::ur {

class Reader final {
  public:
    // Names of a tunnel's fields that the two messages call differently, for what is said of them.
    struct Names {
        const char* local;
        const char* remote;
        const char* local_port;
        bool as_in_json;  // fields are named as JSON has them, not as the .proto
    };

    // Fills `config`, which outlives it.
    Reader(Config& config, const Names& names) : config_(config), names_(names) {}

    void prefixes(const google::protobuf::RepeatedPtrField<std::string>& prefixes);
    void policy(const v1::Policy& policy);
    // Whether there are few enough tunnels to read each.
    bool tunnels(int count);
    // Appended to config.tunnels; its slot is its line's number. MTU 0: that of a path of 1500. To
    // be called after prefixes() and policy(), which it is compared with.
    Tunnel& tunnel(const v1::AttachedTunnel& tunnel, int index);

    // "place: what is wrong; what would be right".
    void error(const std::string& place, const std::string& message);
    // Throws ConfigError if there was an error.
    void finish();

  private:
    bool name(const std::string& place, const std::string& text, const char* what);
    template <typename T>
    T number(const std::string& place, std::uint32_t value, T most);
    bool count(const std::string& place, int count, int least, std::size_t most);
    IpAddress address(const std::string& place, const std::string& text);
    void keys(const v1::AttachedTunnel& from, const std::string& place, Tunnel& t);
    void check(const Tunnel& t, const std::string& place);
    Class klass(const v1::Class& from, const std::string& place);
    void line(const v1::WeightedLine& from, const std::string& place, Tiers& tiers);

    Config& config_;
    Names names_;
    std::vector<std::string> errors_;
};

}  // namespace dr::ur
