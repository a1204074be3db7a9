"""Models of AWS's services, and the stories that models and emulators are told alike."""
