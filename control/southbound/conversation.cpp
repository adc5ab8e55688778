// Requests to the data plane: hello, maps, digests, transactions.
#include "control/southbound/conversation.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "control/telemetry/memfd.h"

namespace dr::control {
namespace {

namespace sb = southbound;

Message receive_after_events(Channel& channel) {
    for (;;) {
        Message message = channel.receive();
        if (message.type != sb::Type::Event) return message;
    }
}

// The reply's memfd, as what reads it.
template <typename Map, typename Descriptor, typename Body>
std::shared_ptr<const Map> mapped(Descriptor&& descriptor, const Body& body) {
    try {
        return std::make_shared<const Map>(std::forward<Descriptor>(descriptor), body.bytes,
                                           body.uuid);
    } catch (const MemfdError& e) {
        throw ChannelError(e.what());
    }
}

}  // namespace

std::string text_of(const sb::Result& result) {
    return {result.text.data(), ::strnlen(result.text.data(), result.text.size())};
}

sb::State greet(Channel& channel) {
    sb::Hello hello{};
    hello.version = sb::kVersion;
    hello.role = sb::kProvisioner;
    const std::string_view build = DR_VERSION;
    std::copy_n(build.begin(), std::min(build.size(), hello.build.size() - 1), hello.build.begin());
    channel.send(sb::Type::Hello, hello);
    const Message reply = channel.receive();
    if (reply.type == sb::Type::Error)
        throw RefusalError("the data plane refuses the connection: " +
                           text_of(reply.as<sb::Result>()));
    if (reply.type != sb::Type::HelloReply) throw ChannelError("data plane: no answer to HELLO");
    const auto state = reply.as<sb::State>();
    if (state.version != sb::kVersion)
        throw RefusalError(
            fmt::format("the data plane speaks version {} of the southbound protocol, "
                        "this drd version {}: use programs of one build",
                        state.version, sb::kVersion));
    return state;
}

std::shared_ptr<const CountersMap> ask_counters(Channel& channel) {
    channel.send(sb::Type::GetCounters);
    const Message reply = channel.receive();
    if (reply.type != sb::Type::CountersReply)
        throw ChannelError("data plane: no answer to GetCounters");
    const auto body = reply.as<sb::CountersReply>();
    return mapped<CountersMap>(reply.fd, body);
}

std::shared_ptr<const LiveMap> ask_liveness(Channel& channel) {
    channel.send(sb::Type::GetLiveness);
    Message reply = channel.receive();
    if (reply.type == sb::Type::Error)
        throw RefusalError("the data plane: " + text_of(reply.as<sb::Result>()));
    if (reply.type != sb::Type::LivenessReply)
        throw ChannelError("data plane: no answer to GetLiveness");
    const auto body = reply.as<sb::LivenessReply>();
    return mapped<LiveMap>(std::move(reply.fd), body);
}

std::shared_ptr<const DropsMap> ask_drops(Channel& channel, std::string& why) {
    channel.send(sb::Type::GetDrops);
    const Message reply = channel.receive();
    if (reply.type == sb::Type::Error)
        throw RefusalError("the data plane: " + text_of(reply.as<sb::Result>()));
    if (reply.type != sb::Type::DropsReply) throw ChannelError("data plane: no answer to GetDrops");
    const auto body = reply.as<sb::DropsReply>();
    try {
        return std::make_shared<const DropsMap>(reply.fd, body.bytes, body.uuid);
    } catch (const MemfdError& e) {
        why = e.what();
        return nullptr;
    }
}

sb::State receive_state(Channel& channel) {
    const Message reply = receive_after_events(channel);
    if (reply.type != sb::Type::State) throw ChannelError("data plane: no State where one is due");
    return reply.as<sb::State>();
}

sb::Result receive_result(Channel& channel, sb::Type expected) {
    const Message message = receive_after_events(channel);
    if (message.type == expected) return message.as<sb::Result>();
    if (message.type == sb::Type::Error)
        throw ChannelError("data plane: " + text_of(message.as<sb::Result>()));
    throw ChannelError(fmt::format("data plane: message {} where {} is due",
                                   static_cast<int>(message.type), static_cast<int>(expected)));
}

}  // namespace dr::control
