// The running site: data path, lines, routes and keepalives, and how a configuration is put in
// force and replaced while packets go through. One thread; main.cpp polls its file descriptors.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "ur/config.h"
#include "ur/datapath.h"
#include "ur/error_source.h"
#include "ur/forwarding.h"
#include "ur/icmp_socket.h"
#include "ur/keepalives.h"
#include "ur/lines.h"
#include "ur/message_socket.h"
#include "ur/netlink.h"
#include "ur/netlink_monitor.h"
#include "ur/prefix_check.h"
#include "ur/repairs.h"
#include "ur/routing.h"
#include "ur/tap.h"

namespace dr::ur {

struct RouterOptions {
    std::string device;           // the tunnel device to make
    std::string lan;              // may be empty
    std::set<std::string> lines;  // devices that are guarded from the start
    bool local_breakout = false;
};

class Router final : private KeepaliveSink {
  public:
    using Time = liveness::Time;

    // Creates the tunnel device; carries nothing yet. Throws std::runtime_error or
    // std::system_error.
    explicit Router(const RouterOptions& options);
    ~Router() override;

    // Puts a configuration in force in place of the one before. Tunnels that did not change are not
    // disturbed. Throws std::system_error where the kernel refuses; what was done until then stays,
    // and the next configuration starts from there.
    void apply(Config config);

    // The devices of all lines, those without a tunnel too, and the addresses of signalling, as far
    // as they are known: what no prefix of the site should hold.
    void set_lines(std::map<std::string, std::string> devices) { devices_ = std::move(devices); }
    void set_signalling(std::vector<IpAddress> addresses) { signalling_ = std::move(addresses); }
    // Which of the configuration's prefixes hold what is not theirs; each "prefixes[0]: what is
    // wrong; what would be right": what would cut the router off, and where prefixes are in force,
    // an address or a gateway of a line that those do not hold. apply() leaves out what would cut
    // the router off, and takes it in when that has changed.
    std::vector<std::string> conflicts(const Config& config);

    // Looks at all lines again. Only warns where the kernel refuses.
    void refresh();
    // For the end on purpose: tells the DR, and waits until it has heard it, 300 ms at most.
    void say_goodbye();
    // Whether the destructor leaves what keeps the site's packets off the lines: their programs,
    // the rules, the unreachable routes.
    void leave_guard(bool leave) { leave_guard_ = leave; }

    // Readable: take_messages(), take_changes().
    [[nodiscard]] int message_fd() const { return messages_.fd(); }
    [[nodiscard]] int change_fd() const { return monitor_.fd(); }
    // Readable: take_hints().
    [[nodiscard]] int icmp_fd(std::uint8_t family) const { return icmp_[family == 6 ? 1 : 0].fd(); }
    void take_messages();
    void take_hints();
    void take_changes();
    // Does what is due; returns when to call again, by now(). Throws std::runtime_error when the
    // tunnel device is gone and cannot be made again.
    Time run();
    static Time now();

    [[nodiscard]] LineFamilies families(const std::string& device) {
        return lines_.families(device);
    }
    // Called when a line has come up, or its address has changed.
    void on_better_lines(std::function<void()> call) { on_better_lines_ = std::move(call); }

    // For `urd status`.
    // Without the prefixes that are left out.
    [[nodiscard]] const Config& config() const { return config_; }
    [[nodiscard]] const std::vector<std::string>& left_out() const { return left_out_; }
    [[nodiscard]] const Datapath& datapath() const { return datapath_; }
    [[nodiscard]] const Keepalives& keepalives() const { return keepalives_; }
    [[nodiscard]] const std::string& device() const { return tap_.name(); }
    // Packets since the tunnel has been in its slot.
    [[nodiscard]] ur_tunnel_counters counters(const Tunnel& tunnel) const;
    [[nodiscard]] const LinePath& path(const Tunnel& tunnel) const;
    // Its keepalives say so; without keepalives, its line can be used.
    [[nodiscard]] bool up(const Tunnel& tunnel) const;
    // The largest packet that the site may send: what every tunnel that carries something takes.
    [[nodiscard]] std::uint16_t mtu() const { return mtu_; }
    // The line carries some bucket of some class.
    [[nodiscard]] bool carries(const Tunnel& tunnel) const;

  private:
    // What the kernel and the engine say of the tunnel in a slot.
    struct Place {
        std::uint32_t id{};
        LinePath path;
        ur_tunnel_counters base{};
        Time lost_at{};       // the path's address or route has been away since; 0: it has not
        std::uint16_t mtu{};  // that the path carries, as keepalives have found; 0: not known
        IpAddress answered;   // own address to which the DR's last answer came; family 0: none
        Time unanswered{};    // the path has been usable and without answer since; 0: it is not
    };

    void send(unsigned slot, const liveness::Endpoint& from, const liveness::Endpoint& to,
              std::uint32_t key, std::span<const std::uint8_t> message,
              bool zero_checksum) override;
    void ends(unsigned slot, const TunnelEnds& ends) override;
    void choice(const liveness::Choice& choice) override;
    void path_mtu(unsigned slot, std::uint16_t mtu) override;
    liveness::DataCounters data_counters(unsigned slot) override;
    void bucket_ages(std::span<std::uint32_t, liveness::kBuckets> ages) override;
    void event(const liveness::Event& event, const std::string& line) override;
    std::uint64_t random() override;

    // What an earlier run has left; the data path then knows it.
    Config kept(bool local_breakout);
    void set_device_mtu();
    void follow_path_mtu();
    [[nodiscard]] ur_rules rules() const;
    [[nodiscard]] std::uint16_t mtu_of(const Tunnel& tunnel) const;
    std::vector<LineAddresses> line_addresses(const Config& config);
    void add_ways(LineAddresses& entry, int index, const Tunnel& tunnel);
    // Whether the prefixes in use are others than before, or what they must not hold.
    bool choose_prefixes();
    void tell_prefixes(std::vector<std::string> left_out, std::vector<std::string> aside);
    void look_at_prefixes();
    // Takes away routes over lines that lead to parts of the prefixes, and what the kernel takes
    // for its own because a line has it; gives the latter back where no prefix in use holds it any
    // more.
    void clear_routes();
    void give_back(bool all) noexcept;
    void place_tunnels();
    void clear_slots();
    // Whether the tunnel's line can be used.
    bool look(const Tunnel& tunnel);
    // What the place's tunnel is sent from, by what the DR answers.
    SourceWish wish(const Tunnel& tunnel, Place& place) const;
    [[nodiscard]] bool answered(unsigned slot) const;
    // Whether the place's path stays in use for now, though its address or route is not there.
    bool outlasts(Place& place, const LinePath& found);
    void publish(const Tunnel& tunnel);
    void publish_buckets();
    [[nodiscard]] const Tunnel* find(unsigned slot) const;
    // Puts back what somebody has taken away of ours in the kernel.
    void restore();
    void restore_soon();
    // Throws std::runtime_error where the device is gone and cannot be made again.
    void keep_device();
    void restore_device();
    void make_device_again();
    // Whether IPv6 is switched off on the tunnel device.
    [[nodiscard]] bool without_ipv6() const;

    Netlink netlink_;
    NetlinkMonitor monitor_;
    Tap tap_;
    unsigned device_mtu_;
    Repairs repairs_;
    Datapath datapath_;
    Config config_;  // in force; before the first apply() the prefixes that an earlier run has left
    Forwarding forwarding_;
    Lines lines_;
    Routing routing_;
    ErrorSource error_source_;
    MessageSocket messages_;
    std::array<IcmpSocket, 2> icmp_{{IcmpSocket(4), IcmpSocket(6)}};
    std::vector<IpPrefix> asked_;                 // the configuration's prefixes, all of them
    std::vector<std::string> left_out_;           // of these, and why
    std::vector<IpPrefix> unused_;                // those; still guarded
    std::vector<IpAddress> needed_;               // in those, by the lines and by signalling
    std::vector<std::string> aside_;              // what of the lines the prefixes in use hold
    bool without_ipv6_ = false;                   // as of the latest look at the prefixes
    std::map<std::string, std::string> devices_;  // by line
    std::map<IpAddress, int> taken_;  // lines' addresses that the kernel takes no packets to
    std::vector<IpAddress> signalling_;
    std::map<unsigned, Place> places_;  // by slot
    liveness::Choice choice_{};
    BucketPlan plan_{};
    std::uint32_t plain_lines_{};  // lines without keepalives that are usable, by number
    Time refresh_at_ = liveness::kNever;
    Time refreshed_ = 0;
    Time restore_at_ = 0;
    Time restored_ = 0;
    unsigned repairs_in_a_row_ = 0;                // by restore(), less one for each second
    std::map<std::string, std::string> troubles_;  // what was last said, by what was to be restored
    bool leave_guard_ = false;
    std::uint16_t mtu_ = 0;
    std::function<void()> on_better_lines_;
    Keepalives keepalives_;
};

}  // namespace dr::ur
