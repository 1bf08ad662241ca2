package lab

import "testing"

func TestTSCIsMeasuredAlike(t *testing.T) {
	first := tscKHz()
	if first == 0 {
		if cycles() != 0 {
			t.Fatal("the counter stands still")
		}
		return // not on this architecture
	}
	second := tscKHz()
	if d := max(first, second) - min(first, second); d*1000 > first {
		t.Errorf("%d and then %d kHz: they differ by more than a thousandth", first, second)
	}
	t.Logf("%d kHz", first)
}
