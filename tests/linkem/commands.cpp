#include "tests/linkem/commands.h"

#include <nlohmann/json.hpp>

#include "tests/linkem/settings.h"

namespace dr::linkem {
namespace {

using nlohmann::json;

constexpr const char* kDirections[] = {"ab", "ba"};
constexpr Side kSides[] = {Side::A, Side::B};

std::vector<Side> sides_of(const json& command) {
    const auto direction = command.value("direction", json("both"));
    if (direction == "both") return {Side::A, Side::B};
    for (const Side side : kSides)
        if (direction == kDirections[index(side)]) return {side};
    throw SettingsError("direction: must be \"ab\", \"ba\" or \"both\", not " + direction.dump());
}

json set(Link& link, const json& command, Nanoseconds now) {
    only_members(command, "set", {"cmd", "direction", "impairments"});
    const auto sides = sides_of(command);
    const json changes = command.value("impairments", json());
    std::vector<Impairments> merged;
    for (const Side side : sides) merged.push_back(merge(link.from(side).impairments(), changes));
    for (std::size_t i = 0; i < sides.size(); ++i) link.from(sides[i]).configure(merged[i], now);
    return json::object();
}

json clear(Link& link, const json& command, Nanoseconds now) {
    only_members(command, "clear", {"cmd", "direction"});
    for (const Side side : sides_of(command)) link.from(side).configure({}, now);
    return json::object();
}

json get(Link& link, const json& command, Nanoseconds) {
    only_members(command, "get", {"cmd"});
    json answer;
    for (const Side side : kSides)
        answer[kDirections[index(side)]] = to_json(link.from(side).impairments());
    answer["nat"] = json::array();
    for (const auto& nat : link.nats()) answer["nat"].push_back(to_json(nat));
    return answer;
}

json counters(Link& link, const json& command, Nanoseconds now) {
    only_members(command, "counters", {"cmd", "reset_lateness"});
    json answer;
    for (const Side side : kSides) {
        json& one = answer[kDirections[index(side)]];
        for (std::size_t i = 0; i < kCounterNames.size(); ++i)
            one[kCounterNames[i]] = link.from(side).counters[static_cast<Counter>(i)];
        one["in_flight"] = link.in_flight(side);
        one["queued_bytes"] = link.from(side).queued_bytes(now);
    }
    answer["lateness"] = {{"released", link.lateness.released},
                          {"greatest_us", static_cast<double>(link.lateness.greatest) / 1e3},
                          {"over_200us", link.lateness.over_200us}};
    if (command.value("reset_lateness", json(false)) == true) link.lateness = {};
    return answer;
}

json nat(Link& link, const json& command, Nanoseconds) {
    only_members(command, "nat", {"cmd", "inside_side", "nats"});
    const auto side = command.value("inside_side", json("b"));
    if (side != "a" && side != "b")
        throw SettingsError("inside_side: must be \"a\" or \"b\", not " + side.dump());
    const auto list = command.value("nats", json());
    if (!list.is_array()) throw SettingsError("nats: must be an array, of no NAT, one, or two");
    std::vector<Nat> nats;
    for (const auto& each : list) {
        nats.emplace_back(nat_settings(each));
        if (nats.size() > 2 || (nats.size() == 2 && nats[0].settings().inside.family ==
                                                        nats[1].settings().inside.family))
            throw SettingsError("nats: at most one for each address family");
    }
    link.set_nats(std::move(nats), side == "a" ? Side::A : Side::B);
    return json::object();
}

json rebind(Link& link, const json& command, Nanoseconds) {
    only_members(command, "rebind", {"cmd", "family", "outside", "first_port"});
    const auto family = command.value("family", json(4));
    for (auto& nat : link.nats()) {
        auto next = nat.settings();
        if (family != next.inside.family) continue;
        json change{{"inside", next.inside.text()},
                    {"outside", command.value("outside", json(next.outside.text()))}};
        // Without a wish, ports that were not in use before.
        change["first_port"] =
            command.value("first_port", json(std::max<unsigned>(nat.next_port(), 1024)));
        next = nat_settings(change);
        nat.rebind(next.outside, next.first_port);
        return {{"nat", to_json(nat)}};
    }
    throw SettingsError("rebind: there is no NAT of family " + family.dump());
}

json seed(Link& link, const json& command, Nanoseconds) {
    only_members(command, "seed", {"cmd", "seed"});
    const auto value = command.value("seed", json());
    if (!value.is_number_unsigned()) throw SettingsError("seed: must be a whole number from 0");
    for (const Side side : kSides) link.from(side).reseed(value.get<std::uint64_t>());
    return json::object();
}

json dispatch(Link& link, const json& command, Nanoseconds now) {
    struct Entry {
        const char* name;
        json (*run)(Link&, const json&, Nanoseconds);
    };
    static constexpr Entry kCommands[] = {
        {"set", set}, {"clear", clear},   {"get", get},  {"counters", counters},
        {"nat", nat}, {"rebind", rebind}, {"seed", seed}};
    const auto name = command.is_object() ? command.value("cmd", json()) : json();
    std::string known;
    for (const auto& each : kCommands) {
        if (name == each.name) return each.run(link, command, now);
        known += std::string(" ") + each.name;
    }
    throw SettingsError("cmd: must be one of" + known + ", not " + name.dump());
}

}  // namespace

std::string execute(Link& link, const std::string& line, Nanoseconds now) {
    json answer;
    try {
        answer = dispatch(link, json::parse(line), now);
        answer["ok"] = true;
    } catch (const std::exception& error) {
        answer = {{"ok", false}, {"error", error.what()}};
    }
    return answer.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace dr::linkem
