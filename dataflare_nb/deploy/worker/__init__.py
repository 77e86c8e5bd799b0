"""What runs on the cluster: our operators, hosted by Flink. Imported in the environment of apache-flink."""
