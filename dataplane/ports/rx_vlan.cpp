// Switches VLAN tag removal off on a device, by ethtool.
#include "dataplane/ports/rx_vlan.h"

#include <fmt/format.h>
#include <linux/ethtool.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "dataplane/ports/ethtool.h"

namespace dr {

namespace {

constexpr std::array<std::string_view, 2> kFeatures{"rx-vlan-hw-parse", "rx-vlan-stag-hw-parse"};

using Words = Ethtool::Words;

// Names of all features the kernel knows, in the order of their bits. Empty: errno says why.
std::vector<std::string> feature_names(Ethtool& ethtool) {
    Words count(sizeof(ethtool_sset_info) / 4 + 1);
    ethtool_sset_info info{};
    info.cmd = ETHTOOL_GSSET_INFO;
    info.sset_mask = std::uint64_t{1} << ETH_SS_FEATURES;
    std::memcpy(count.data(), &info, sizeof info);
    if (ethtool(count.data()) < 0) return {};
    const std::uint32_t names = count.back();
    constexpr std::size_t kHead = sizeof(ethtool_gstrings) / 4;
    Words strings(kHead + std::size_t{names} * ETH_GSTRING_LEN / 4);
    strings[0] = ETHTOOL_GSTRINGS;
    strings[1] = ETH_SS_FEATURES;
    strings[2] = names;
    if (ethtool(strings.data()) < 0) return {};
    std::vector<std::string> out;
    for (std::uint32_t i = 0; i < names; ++i) {
        std::array<char, ETH_GSTRING_LEN + 1> name{};
        std::memcpy(name.data(), strings.data() + kHead + std::size_t{i} * ETH_GSTRING_LEN / 4,
                    ETH_GSTRING_LEN);
        out.emplace_back(name.data());
    }
    return out;
}

struct Feature {
    std::uint32_t bit;
    std::string_view name;
};

// Those of `features` that are on; false: errno says why.
bool active(Ethtool& ethtool, std::uint32_t blocks, std::vector<Feature>* features) {
    constexpr std::size_t kHead = sizeof(ethtool_gfeatures) / 4;
    constexpr std::size_t kBlock = sizeof(ethtool_get_features_block) / 4;
    constexpr std::size_t kActive = offsetof(ethtool_get_features_block, active) / 4;
    Words get(kHead + kBlock * blocks);
    get[0] = ETHTOOL_GFEATURES;
    get[1] = blocks;
    if (ethtool(get.data()) < 0) return false;
    std::erase_if(*features, [&](const Feature& f) {
        return (get[kHead + kBlock * (f.bit / 32) + kActive] >> f.bit % 32 & 1U) == 0;
    });
    return true;
}

bool switch_off(Ethtool& ethtool, std::uint32_t blocks, const std::vector<Feature>& features) {
    constexpr std::size_t kHead = sizeof(ethtool_sfeatures) / 4;
    constexpr std::size_t kBlock = sizeof(ethtool_set_features_block) / 4;
    Words set(kHead + kBlock * blocks);
    set[0] = ETHTOOL_SFEATURES;
    set[1] = blocks;
    for (const Feature& f : features) set[kHead + kBlock * (f.bit / 32)] |= 1U << f.bit % 32;
    return ethtool(set.data()) >= 0;
}

}  // namespace

bool leave_vlan_tags_in(const std::string& interface, std::string* error) {
    Ethtool ethtool(interface);
    const std::vector<std::string> names = feature_names(ethtool);
    std::vector<Feature> on;
    for (std::uint32_t i = 0; i < names.size(); ++i)
        for (const std::string_view name : kFeatures)
            if (names[i] == name) on.push_back({i, name});
    const auto blocks = static_cast<std::uint32_t>((names.size() + 31) / 32);
    const auto refuse = [&](const std::string& why) {
        *error = fmt::format(
            "{} takes VLAN tags out of received frames, and this cannot be switched off ({}): "
            "frames of every VLAN would count as untagged; where the switch sends no tagged "
            "frames, or all are to count as untagged, say \"vlan_stripping\": true",
            interface, why);
        return false;
    };
    if (names.empty() || !active(ethtool, blocks, &on)) return refuse(std::strerror(errno));
    if (on.empty()) return true;
    if (!switch_off(ethtool, blocks, on) || !active(ethtool, blocks, &on))
        return refuse(std::strerror(errno));
    return on.empty() || refuse(fmt::format("{} stays on", on.front().name));
}

bool is_veth(const std::string& interface) {
    Ethtool ethtool(interface);
    ethtool_drvinfo info{};
    info.cmd = ETHTOOL_GDRVINFO;
    return ethtool(&info) >= 0 && std::string_view(info.driver) == "veth";
}

}  // namespace dr
