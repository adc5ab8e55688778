// From JSON to protobuf, which then is read as an attachment is.
#include "ur/config_file.h"

#include "base/utf8.h"
#include "dr/v1/api.pb.h"
#include "proto/json.h"
#include "ur/reader.h"

namespace dr::ur {

namespace {

constexpr Reader::Names kNames{"local", "remote", "localPort", true};

v1::UserRouterConfig parsed(const std::string& text) {
    constexpr std::size_t kMost = std::size_t{1} << 20;
    if (text.size() > kMost) throw ConfigError({"configuration: has more than 1 MiB"});
    if (is_utf16(text)) throw ConfigError({"configuration: is UTF-16; must be UTF-8"});
    v1::UserRouterConfig file;
    if (const auto error = parse_json(std::string(without_mark(text)), &file))
        throw ConfigError(
            {(error->field.empty() ? "configuration" : error->field) + ": " + error->description});
    return file;
}

v1::AttachedTunnel attached(const v1::UserRouterTunnel& from) {
    v1::AttachedTunnel out;
    out.set_line(from.line());
    out.set_encapsulation(from.encapsulation());
    out.set_ur_address(from.local());
    out.set_dr_address(from.remote());
    out.set_id(from.id());
    out.set_ur_port(from.local_port());
    out.set_mtu(from.mtu());
    return out;
}

}  // namespace

Config parse_config(const std::string& text) {
    const v1::UserRouterConfig file = parsed(text);
    Config config;
    config.subscriber = file.subscriber();
    // drd writes the seed itself; protobuf-JSON leaves it out when it is 0.
    config.seed = file.hash_seed();
    Reader reader(config, kNames);
    reader.prefixes(file.prefixes());
    // Without keepalives nothing ever waits to be restored.
    reader.policy(file.policy());
    if (file.tunnels().empty()) reader.error("tunnels", "0 of them; must be at least 1");
    if (!reader.tunnels(file.tunnels_size())) reader.finish();
    for (int i = 0; i < file.tunnels_size(); ++i)
        reader.tunnel(attached(file.tunnels(i)), i).device = file.tunnels(i).device();
    reader.finish();
    return config;
}

}  // namespace dr::ur
