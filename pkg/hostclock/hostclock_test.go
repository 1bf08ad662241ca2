package hostclock

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

func TestSinceBoot(t *testing.T) {
	first, second := SinceBoot(), SinceBoot()
	if first <= 0 || second < first {
		t.Errorf("got %v, then %v", first, second)
	}
	content, err := os.ReadFile("/proc/uptime")
	if err != nil {
		t.Fatal(err)
	}
	uptime, _, _ := strings.Cut(string(content), " ")
	seconds, err := strconv.ParseFloat(uptime, 64)
	if err != nil {
		t.Fatal(err)
	}
	if off := time.Duration(seconds*float64(time.Second)) - first; off.Abs() > 10*time.Second {
		t.Errorf("got %v, and /proc/uptime says %ss", first, uptime)
	}
}

func TestBootID(t *testing.T) {
	first, err := BootID()
	if err != nil || uuid.Validate(first) != nil {
		t.Fatalf("got %q, %v", first, err)
	}
	if again, err := BootID(); err != nil || again != first {
		t.Errorf("got %q, %v, and %q before", again, err, first)
	}
}
