// Package cli is dm: the commands, the file of remotes, and how results and
// errors are shown. It reaches dots through package client alone.
//
// A command is one file: an options struct, its flags, and a run function that
// tests call. What a command touches of the outside (standard streams, the
// environment, the terminal) comes in a [Terminal]; the package has no state of
// its own and never exits the process.
//
// Exit codes:
//
//	0    done
//	1    failed, for a reason that none of the others says
//	2    wrong usage: a flag, an argument or a name that is not valid; nothing was changed
//	3    the thing named does not exist
//	4    refused: who you are is not known, or you may not, or the server is not the one that was pinned
//	5    refused for the state that things are in: it exists already, it is in use, there is no room
//	6    no answer: the server cannot be reached, is not ready, or took too long; trying again may help
//	130  interrupted
package cli
