package driver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	mount "k8s.io/mount-utils"

	"github.com/dotmesh-io/dotmesh-csi/test/lab/clouddisk"
)

// ServeUsers answers the controller's question what uses a disk here.
func ServeUsers(ctx context.Context, host string) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /users", func(w http.ResponseWriter, r *http.Request) {
		users := []string{}
		name, err := deviceOf(r.FormValue("disk"))
		if err == nil && name != "" {
			users, err = usersOf(name)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(w).Encode(users)
	})
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(host, clouddisk.UsersPort))
	if err != nil {
		return err
	}
	s := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// usersOf names what uses a disk: processes that have it open, mounts in any mount
// namespace, loop devices over it, and, where only that can be told, the kernel.
func usersOf(name string) ([]string, error) {
	var st unix.Stat_t
	if err := unix.Stat("/dev/"+name, &st); err != nil {
		return nil, err
	}
	users := append(processesOn(st.Rdev), loopsOn(st.Rdev)...)
	holders, err := filepath.Glob("/sys/block/" + name + "/holders/*")
	if err != nil {
		return nil, err
	}
	for _, h := range holders {
		users = append(users, "device "+filepath.Base(h))
	}
	if len(users) > 0 {
		return users, nil
	}
	fd, err := unix.Open("/dev/"+name, unix.O_RDONLY|unix.O_EXCL|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.EBUSY) {
		return []string{"the kernel (a pool or swap)"}, nil
	} else if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	return nil, unix.Close(fd)
}

// processesOn looks at the files and, once for each mount namespace, at the mounts
// of all processes. One that ends meanwhile uses nothing.
func processesOn(device uint64) (users []string) {
	processes, _ := filepath.Glob("/proc/[0-9]*")
	seen := map[string]bool{}
	for _, dir := range processes {
		comm, _ := os.ReadFile(filepath.Join(dir, "comm"))
		who := fmt.Sprintf("process %s (%s)", filepath.Base(dir), strings.TrimSpace(string(comm)))
		files, _ := filepath.Glob(filepath.Join(dir, "fd", "*"))
		for _, f := range files {
			var st unix.Stat_t
			if unix.Stat(f, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFBLK && st.Rdev == device {
				users = append(users, who)
			}
		}
		namespace, err := os.Readlink(filepath.Join(dir, "ns/mnt"))
		if err != nil || seen[namespace] {
			continue
		}
		seen[namespace] = true
		mounts, err := mount.ParseMountInfo(filepath.Join(dir, "mountinfo"))
		if err != nil {
			continue
		}
		for _, m := range mounts {
			if m.Major == int(unix.Major(device)) && m.Minor == int(unix.Minor(device)) {
				users = append(users, fmt.Sprintf("mount at %s as %s sees it", m.MountPoint, who))
			}
		}
	}
	return users
}

func loopsOn(device uint64) (users []string) {
	loops, _ := filepath.Glob("/sys/block/loop*/loop")
	for _, dir := range loops {
		name := filepath.Base(filepath.Dir(dir))
		f, err := os.Open("/dev/" + name)
		if err != nil {
			continue
		}
		info, err := unix.IoctlLoopGetStatus64(int(f.Fd()))
		f.Close()
		if err == nil && info.Rdevice == device {
			users = append(users, "loop device "+name)
		}
	}
	return users
}
