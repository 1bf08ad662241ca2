// Package syslog sends what a process logs to a log server as well: RFC 5424, over
// UDP (RFC 5426) or TCP with octet counting (RFC 6587).
//
// A Sink takes klog's text, an entry with each Write, and never makes the writer
// wait: what the log server does not take in time waits in a queue of a bounded
// length, and what finds it full is counted and lost. Which log server it is stands
// in a file that may change at any time.
package syslog
