package server

// BackgroundJobs tells tests how many jobs are not done.
func (s *Server) BackgroundJobs() int { return s.work.length() }
