// Command writer appends numbered records to a file, each made durable with
// fsync(2) before it is acknowledged on standard output, for ever:
//
//	start fs=2fc12fc1 last=17 t=1772600000123
//	ack 18 t=1772600000223
//	gap 6100ms before 19 t=1772600006323
//	error write: disk quota exceeded t=1772600006400
//
// t is the time in milliseconds. A gap is a time of more than five seconds
// without an acknowledgement. After an error it goes on trying. Started again it
// goes on behind the last record. With -check it reads the file instead, and
// tells the last number, or what is missing.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"syscall"
	"time"
)

const maxGap = 5 * time.Second

func main() {
	file := flag.String("file", "", "file to append to, or to check")
	check := flag.Bool("check", false, "read the file and tell its last number")
	pause := flag.Duration("pause", 100*time.Millisecond, "time between two records")
	flag.Parse()
	if *check {
		last, _, err := read(*file)
		if err != nil {
			fmt.Fprintln(os.Stderr, "writer:", err)
			os.Exit(1)
		}
		fmt.Printf("intact last=%d\n", last)
		return
	}
	write(*file, *pause)
}

func write(path string, pause time.Duration) {
	var out *os.File
	var number uint64
	var size int64
	acked := time.Now()
	for ; ; time.Sleep(pause) {
		if out == nil {
			f, last, whole, err := open(path)
			if err != nil {
				say("error open: %v", err)
				continue
			}
			out, number, size = f, last, whole
			say("start fs=%x last=%d", kind(out), number)
		}
		if err := add(out, size, number+1); err != nil {
			say("error write: %v", err)
			out.Close()
			out = nil
			continue
		}
		number, size = number+1, size+int64(len(record(number)))
		if gap := time.Since(acked); gap > maxGap {
			say("gap %dms before %d", gap.Milliseconds(), number)
		}
		acked = time.Now()
		say("ack %d", number)
	}
}

func say(format string, args ...any) {
	fmt.Printf(format+" t=%d\n", append(args, time.Now().UnixMilli())...)
}

// open makes the file, or finds its last whole record.
func open(path string) (f *os.File, last uint64, size int64, err error) {
	last, size, err = read(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, 0, 0, err
	}
	f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	return f, last, size, err
}

// kind is the file system's magic number (statfs(2)).
func kind(f *os.File) int64 {
	var s syscall.Statfs_t
	if err := syscall.Fstatfs(int(f.Fd()), &s); err != nil {
		return 0
	}
	return s.Type
}

func add(f *os.File, at int64, number uint64) error {
	if _, err := f.WriteAt(record(number), at); err != nil {
		return err
	}
	return f.Sync()
}

func record(number uint64) []byte {
	text := fmt.Appendf(nil, "%010d", number)
	return fmt.Appendf(text, " %08x\n", crc32.ChecksumIEEE(text))
}

// read gives the number of the last record and where the next one goes. What
// follows the last whole record was never acknowledged, and does not count.
func read(path string) (last uint64, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		return 0, 0, err
	}
	length := len(record(0))
	for ; len(data) >= length; data = data[length:] {
		if !bytes.Equal(data[:length], record(last+1)) {
			if len(data) < 2*length {
				break
			}
			return last, size, fmt.Errorf("%s: record %d is %q", path, last+1, data[:length])
		}
		last, size = last+1, size+int64(length)
	}
	return last, size, nil
}
