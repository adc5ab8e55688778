// Starting as root and running as somebody else.
#pragma once

#include <sys/types.h>

#include <string>

namespace dr::control {

class Privileges {
  public:
    // `user` empty: as started. Throws StartError when there is no such user, or when the process
    // is neither root nor that user.
    explicit Privileges(const std::string& user);

    // Makes the directory (0755, with parents) if it is missing, as the user's own.
    void make_directory(const std::string& path) const;
    // Gives a file to the user.
    void give(const std::string& path) const;
    // The calling process acts as the user on files, until drop() or the end of the scope.
    class Acting {
      public:
        explicit Acting(const Privileges& as);
        Acting(const Acting&) = delete;
        Acting& operator=(const Acting&) = delete;
        ~Acting();

      private:
        bool active_;
    };
    // For good, in all threads. Throws StartError.
    void drop() const;

  private:
    [[nodiscard]] bool switching() const { return switching_; }

    std::string user_;
    bool switching_ = false;
    uid_t uid_ = 0;
    gid_t gid_ = 0;
};

}  // namespace dr::control
