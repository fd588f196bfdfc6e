"""One definition per component: what all four packages are held to."""
