"""Trainings that stop on the way: checkpoints in memory, and the exception that cuts a training off."""


class CutOff(Exception):
    pass


class Memory:
    """Checkpoints that keep states; after `most` of them the training is cut off, after `until` epochs it pauses."""

    def __init__(self, every, most=99, state=None, until=None):
        self.every, self.most, self.state, self.until = every, most, state, until
        self.epochs = []

    def load(self):
        return self.state

    def save(self, epoch, data):
        self.state = data
        self.epochs.append(epoch)
        if len(self.epochs) == self.most:
            raise CutOff
