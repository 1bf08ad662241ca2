package lab

// cycles reads this CPU's time stamp counter.
func cycles() uint64
