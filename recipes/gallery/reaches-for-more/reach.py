import urllib.request


def run(context, params):
    urllib.request.urlopen("http://tracker.example.org/")
