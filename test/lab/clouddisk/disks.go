package clouddisk

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/pkg/atomicfile"
)

// DriverName is the CSI driver's, for StorageClasses.
const DriverName = "clouddisk.lab.dotmesh.io"

// Errors that a caller decides on.
var (
	ErrNoDisk   = errors.New("there is no such disk")
	ErrNoNode   = errors.New("there is no such node")
	ErrAttached = errors.New("the disk is attached")
	ErrSize     = errors.New("the disk has another size")
)

// Disk is one disk as it is recorded.
type Disk struct {
	ID    string // also its serial number, of which virtio-blk shows 20 characters
	Name  string // that the creator gave it
	Bytes int64
	Node  string // "" while it is attached nowhere
}

// Misuse is the detaching of a disk that its node still used.
type Misuse struct {
	Time  time.Time
	Disk  string
	Node  string
	Users []string
}

// Machine is what the disks need of the machine that a node runs on.
type Machine interface {
	Running() bool
	Monitor() string // path of its QMP socket
	// Users asks the machine what in it uses the disk.
	Users(ctx context.Context, id string) ([]string, error)
}

// Disks are the disks of one cluster. Any number of processes may use the same
// directory.
type Disks struct {
	Dir string
	// Machine finds a node's machine; the error is ErrNoNode if there is none.
	Machine func(node string) (Machine, error)
}

// IDOf is the id that a disk of that name gets, so that creating one twice finds
// the first.
func IDOf(name string) string {
	sum := sha256.Sum256([]byte(name))
	return fmt.Sprintf("disk%x", sum[:8])
}

// CheckID refuses what IDOf cannot have made, and so what could leave the directory.
func CheckID(id string) error {
	hex, ok := strings.CutPrefix(id, "disk")
	if !ok || len(hex) != 16 || strings.Trim(hex, "0123456789abcdef") != "" {
		return fmt.Errorf("%q: %w", id, ErrNoDisk)
	}
	return nil
}

// File is the raw file of a disk.
func (d *Disks) File(id string) string { return filepath.Join(d.Dir, id+".img") }

func (d *Disks) record(id string) string { return filepath.Join(d.Dir, id+".json") }

func (d *Disks) misuses() string { return filepath.Join(d.Dir, "misuses") }

// Create makes an empty disk, or finds the one of that name and size.
func (d *Disks) Create(ctx context.Context, name string, size int64) (Disk, error) {
	disk := Disk{ID: IDOf(name), Name: name, Bytes: size}
	if err := os.MkdirAll(d.Dir, 0o700); err != nil {
		return Disk{}, err
	}
	unlock, err := d.lock(ctx, disk.ID, "")
	if err != nil {
		return Disk{}, err
	}
	defer unlock()
	switch have, err := d.Get(disk.ID); {
	case err == nil && have.Bytes != size:
		return Disk{}, fmt.Errorf("%w: %s has %d bytes, not %d", ErrSize, name, have.Bytes, size)
	case !errors.Is(err, ErrNoDisk):
		return have, err
	}
	// What an interrupted Create or Delete left must not be the new disk's content.
	if err := os.Remove(d.File(disk.ID)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Disk{}, err
	}
	if err := extend(d.File(disk.ID), size); err != nil {
		return Disk{}, err
	}
	return disk, d.save(disk)
}

// extend makes a file that long, empty where it had nothing.
func extend(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Close())
}

// Delete removes a disk that is attached nowhere; none is no error.
func (d *Disks) Delete(ctx context.Context, id string) error {
	unlock, err := d.lock(ctx, id, "")
	if err != nil {
		return err
	}
	defer unlock()
	disk, err := d.Get(id)
	if errors.Is(err, ErrNoDisk) {
		return nil
	} else if err != nil {
		return err
	}
	if disk.Node != "" {
		return fmt.Errorf("%w to %s: detach it before it is deleted", ErrAttached, disk.Node)
	}
	return errors.Join(os.Remove(d.record(id)), os.Remove(d.File(id)))
}

// Get reads one disk's record.
func (d *Disks) Get(id string) (Disk, error) {
	var disk Disk
	b, err := os.ReadFile(d.record(id))
	if errors.Is(err, fs.ErrNotExist) {
		return disk, fmt.Errorf("%s: %w", id, ErrNoDisk)
	} else if err != nil {
		return disk, err
	}
	return disk, json.Unmarshal(b, &disk)
}

// List reads all, in the order of their ids.
func (d *Disks) List() ([]Disk, error) {
	records, err := filepath.Glob(d.record("disk*"))
	if err != nil {
		return nil, err
	}
	var all []Disk
	for _, r := range records {
		disk, err := d.Get(strings.TrimSuffix(filepath.Base(r), ".json"))
		if errors.Is(err, ErrNoDisk) {
			continue // deleted meanwhile
		} else if err != nil {
			return nil, err
		}
		all = append(all, disk)
	}
	return all, nil
}

func (d *Disks) save(disk Disk) error {
	b, err := json.Marshal(disk)
	if err != nil {
		return err
	}
	return atomicfile.Write(d.record(disk.ID), b, 0o600)
}

// Misuses are all that there have been, the oldest first.
func (d *Disks) Misuses() ([]Misuse, error) {
	f, err := os.Open(d.misuses())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []Misuse
	for lines := json.NewDecoder(f); lines.More(); {
		var m Misuse
		if err := lines.Decode(&m); err != nil {
			return all, err
		}
		all = append(all, m)
	}
	return all, nil
}

func (d *Disks) addMisuse(m Misuse) error {
	f, err := os.OpenFile(d.misuses(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(json.NewEncoder(f).Encode(m), f.Close())
}
